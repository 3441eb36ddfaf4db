import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { api } from "@/app/services";
import type { Iteration, Job, Slot } from "@/http/model";
import { readIteration } from "@/http/read";
import { buttonClass } from "@/ui/Button";
import { Chip } from "@/ui/Chip";
import { Copyable } from "@/ui/Copyable";
import { Drawer, Facts, Group } from "@/ui/Drawer";
import { Loaded, ProblemPanel } from "@/ui/Panel";
import { duration, moment, utc } from "@/ui/time";
import { iterationKey, useJobs } from "./data";
import { ENDED_BY, lookOf, SKIP_REASONS, slotLook } from "./look";

export function useIteration(id: string) {
  return useQuery({
    queryKey: iterationKey(id),
    queryFn: async ({ signal }): Promise<Iteration> => {
      const path = `/api/v1/iterations/${encodeURIComponent(id)}`;
      const iteration = readIteration(await api.get<unknown>(path, {}, signal));
      if (iteration === null)
        throw new Error("The server described this iteration in an unknown way.");
      return iteration;
    },
  });
}

function useSlot(id: string) {
  return useQuery({
    queryKey: ["slots", "one", id],
    enabled: id !== "",
    queryFn: ({ signal }) => api.get<Slot>(`/api/v1/slots/${encodeURIComponent(id)}`, {}, signal),
  });
}

export function IterationPanel({ id, onClose }: { id: string; onClose: () => void }) {
  const query = useIteration(id);
  const jobs = useJobs();
  const job = jobs.data?.find((one) => one.name === query.data?.job);
  return (
    <Drawer title={query.data?.job ?? "Iteration"} label="Iteration" onClose={onClose}>
      <Loaded query={query} rows={10}>
        {(iteration) => <Story iteration={iteration} job={job} />}
      </Loaded>
    </Drawer>
  );
}

const time = (iso: string | null) =>
  iso === null || iso === "" ? null : <span title={utc(iso)}>{moment(iso)}</span>;

function Story({ iteration, job }: { iteration: Iteration; job: Job | undefined }) {
  const wait = Date.parse(iteration.started_at) - Date.parse(iteration.due_at);
  const { ended_by: endedBy } = iteration;
  return (
    <>
      <div style={{ display: "flex", alignItems: "center", justifyContent: "space-between" }}>
        <Chip look={lookOf(iteration)} />
        <Link
          to="/iterations/$id"
          params={{ id: iteration.id }}
          className={buttonClass("plain", true)}
        >
          Open the whole record
        </Link>
      </div>
      <Group title="What happened">
        <Facts
          rows={{
            Due: time(iteration.due_at),
            START: time(iteration.started_at),
            Waited: Number.isNaN(wait) ? null : duration(Math.max(0, wait)),
            END: iteration.ended_at === null ? "not yet" : time(iteration.ended_at),
            Duration: iteration.duration_ms === null ? null : duration(iteration.duration_ms),
            "END written by": endedBy && (ENDED_BY[endedBy] ?? endedBy),
            Error: iteration.error_type && <span className="mono">{iteration.error_type}</span>,
            Message: iteration.error_message,
          }}
        />
      </Group>
      <Group title="Work">
        <Facts
          rows={{
            Scope:
              iteration.scope === "" ? "none" : <span className="mono">{iteration.scope}</span>,
            Counted: counted(iteration),
            Attempt: String(iteration.attempt),
            Worker: <span className="mono">{iteration.worker || "–"}</span>,
            Process: iteration.pid === null ? null : <span className="mono">{iteration.pid}</span>,
            "Soft limit": job?.soft_s == null ? "none" : `${job.soft_s} s`,
            "Hard limit": job?.hard_s == null ? "none" : `${job.hard_s} s`,
            Queue: job?.queue || null,
          }}
        />
      </Group>
      {iteration.slot_id !== "" && <SlotFacts id={iteration.slot_id} />}
      <Group title="Identity">
        <Facts rows={{ Iteration: <Copyable text={iteration.id} /> }} />
      </Group>
    </>
  );
}

function counted(iteration: Iteration): string | null {
  const { counters } = iteration;
  if (counters === null) return null;
  const words = Object.entries(counters)
    .filter(([, value]) => typeof value === "number")
    .map(([name, value]) => `${value} ${name}`);
  return words.length === 0 ? "nothing" : words.join(" · ");
}

function SlotFacts({ id }: { id: string }) {
  const query = useSlot(id);
  const slot = query.data;
  return (
    <Group title="Slot">
      {query.error !== null && query.data === undefined ? (
        <ProblemPanel error={query.error} onRetry={() => void query.refetch()} />
      ) : (
        <Facts
          rows={{
            State: slot && <Chip look={slotLook(slot)} />,
            Origin: slot && (slot.origin === "run" ? "asked for by a person" : "the schedule"),
            Reason: slot?.reason && (SKIP_REASONS[slot.reason] ?? slot.reason),
            Iterations: slot && String(slot.iteration_ids.length),
            Slot: (
              <Link to="/slots" search={{ slot: id }} className="mono">
                {id}
              </Link>
            ),
          }}
        />
      )}
    </Group>
  );
}
