import { useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, type ReactNode, useState } from "react";
import { api } from "@/app/services";
import type { Iteration, Job, Slot } from "@/http/model";
import { isProblem } from "@/http/problem";
import { useChannel, useLive } from "@/live/useLive";
import { Button } from "@/ui/Button";
import { Copyable } from "@/ui/Copyable";
import { Dialog, DialogBody, DialogFoot, Field } from "@/ui/Dialog";
import { Icon, type IconName } from "@/ui/Icon";
import { newKey } from "@/ui/newKey";
import { ProblemPanel } from "@/ui/Panel";
import { clockTime, duration } from "@/ui/time";
import { useJobs } from "./data";
import { useIteration } from "./IterationPanel";
import { LOOKS, SKIP_REASONS, shownOf } from "./look";
import styles from "./Run.module.css";
import { type Accepted, explain, runJob } from "./runJob";

const SLEEP_SCOPES = ["ok:2", "raise", "swallow:20", "kill", "exit"];

type Phase =
  | { name: "form"; error: unknown }
  | { name: "sending"; waiting: boolean }
  | { name: "accepted"; accepted: Accepted };

interface RunDialogProps {
  onClose: () => void;
  onOpenIteration: (id: string) => void;
  initialJob: string | undefined;
}

export function RunDialog({ onClose, onOpenIteration, initialJob }: RunDialogProps) {
  const jobs = useJobs();
  const [job, setJob] = useState(initialJob ?? "");
  const [scope, setScope] = useState("");
  const [phase, setPhase] = useState<Phase>({ name: "form", error: null });
  // One key for one intention: pressing Run again after a failure cannot run it twice.
  const [key, setKey] = useState(newKey);
  const chosen = job || jobs.data?.find((one) => !one.internal)?.name || "";

  async function submit(event: FormEvent): Promise<void> {
    event.preventDefault();
    setPhase({ name: "sending", waiting: false });
    try {
      const onWaiting = () => setPhase({ name: "sending", waiting: true });
      const accepted = await runJob(chosen, scope.trim(), key, onWaiting);
      setPhase({ name: "accepted", accepted });
    } catch (error) {
      setPhase({ name: "form", error });
    }
  }

  const change = (apply: () => void) => {
    apply();
    setKey(newKey());
  };

  return (
    <Dialog title="Run a job now" onClose={onClose}>
      <form onSubmit={(event) => void submit(event)}>
        <DialogBody>
          {phase.name === "accepted" ? (
            <Follow job={chosen} accepted={phase.accepted} onOpenIteration={onOpenIteration} />
          ) : (
            <Form
              jobs={jobs.data ?? []}
              job={chosen}
              scope={scope}
              disabled={phase.name === "sending"}
              onJob={(value) => change(() => setJob(value))}
              onScope={(value) => change(() => setScope(value))}
            />
          )}
          {phase.name === "form" && phase.error !== null && <Refusal error={phase.error} />}
          {phase.name === "sending" && phase.waiting && (
            <p role="status">No connection. It will be sent once, as soon as there is one.</p>
          )}
        </DialogBody>
        <DialogFoot>
          <Button onClick={onClose}>Close</Button>
          {phase.name === "accepted" ? (
            <Button
              tone="primary"
              onClick={() => change(() => setPhase({ name: "form", error: null }))}
            >
              Run another
            </Button>
          ) : (
            <Button
              type="submit"
              tone="primary"
              icon="play"
              disabled={phase.name === "sending" || chosen === ""}
            >
              {phase.name === "sending" ? "Sending…" : "Run"}
            </Button>
          )}
        </DialogFoot>
      </form>
    </Dialog>
  );
}

function Refusal({ error }: { error: unknown }) {
  return <ProblemPanel error={isProblem(error) ? error : new Error(explain(error))} />;
}

interface FormProps {
  jobs: readonly Job[];
  job: string;
  scope: string;
  disabled: boolean;
  onJob: (value: string) => void;
  onScope: (value: string) => void;
}

function Form({ jobs, job, scope, disabled, onJob, onScope }: FormProps) {
  const limits = jobs.find((one) => one.name === job);
  return (
    <>
      <Field
        label="Job"
        hint={
          limits &&
          `Soft limit ${limits.soft_s ?? "none"} s, hard limit ${limits.hard_s ?? "none"} s`
        }
      >
        {(attributes) => (
          <select
            {...attributes}
            name="job"
            value={job}
            disabled={disabled}
            onChange={(event) => onJob(event.target.value)}
          >
            {jobs.map((one) => (
              <option key={one.name} value={one.name}>
                {one.name}
                {one.internal ? " (internal)" : ""}
              </option>
            ))}
          </select>
        )}
      </Field>
      <Field label="Scope" hint="What the run is limited to. Empty: everything that is due.">
        {(attributes) => (
          <input
            {...attributes}
            name="scope"
            value={scope}
            disabled={disabled}
            autoComplete="off"
            spellCheck={false}
            onChange={(event) => onScope(event.target.value)}
          />
        )}
      </Field>
      {job === "sleep" && (
        <div className={styles.presets}>
          {SLEEP_SCOPES.map((preset) => (
            <Button key={preset} small disabled={disabled} onClick={() => onScope(preset)}>
              {preset}
            </Button>
          ))}
        </div>
      )}
    </>
  );
}

interface FollowProps {
  job: string;
  accepted: Accepted;
  onOpenIteration: (id: string) => void;
}

/** What became of the run: its slot's channel tells, and the API is read again when it does. */
function Follow({ job, accepted, onOpenIteration }: FollowProps) {
  const client = useQueryClient();
  const { state } = useLive();
  const slotKey = ["slots", "one", accepted.slotId];
  const slot = useQuery({
    queryKey: slotKey,
    queryFn: ({ signal }) =>
      api.get<Slot>(`/api/v1/slots/${encodeURIComponent(accepted.slotId)}`, {}, signal),
    refetchInterval: (query) =>
      state === "OPEN" || query.state.data?.state === "skipped" ? false : 2_000,
  });
  const iterationId = slot.data?.iteration_ids.at(-1) ?? null;
  const reread = () => {
    void client.invalidateQueries({ queryKey: slotKey });
    if (iterationId !== null) {
      void client.invalidateQueries({ queryKey: ["iterations", "one", iterationId] });
    }
  };
  useChannel(`slot:${accepted.slotId}`, { onEvent: reread, onResync: reread });
  return (
    <>
      <ol className={styles.steps} aria-live="polite" data-testid="run-steps">
        <Step tone="done" icon="check" title={`${job} accepted`}>
          {accepted.duplicate ? "It had been accepted before; nothing was added. " : ""}
          over {accepted.via === "live" ? "the live connection" : "HTTP"}, slot{" "}
          <Copyable text={accepted.slotId} />
        </Step>
        {slot.data?.state === "skipped" ? (
          <Step tone="bad" icon="diamond" title="Skipped">
            {SKIP_REASONS[slot.data.reason ?? ""] ?? slot.data.reason}
          </Step>
        ) : iterationId === null ? (
          <Step tone="active" icon="spinner" title="Waiting for a worker">
            due {clockTime(Date.parse(accepted.dueAt))}
          </Step>
        ) : (
          <FollowIteration id={iterationId} />
        )}
      </ol>
      {iterationId !== null && (
        <div>
          <Button small onClick={() => onOpenIteration(iterationId)}>
            Open the iteration
          </Button>
        </div>
      )}
    </>
  );
}

function FollowIteration({ id }: { id: string }) {
  const { data } = useIteration(id);
  if (data === undefined) return <Step tone="active" icon="spinner" title="Started" />;
  return (
    <>
      <Step tone="done" icon="check" title="Started">
        {clockTime(Date.parse(data.started_at))} on {data.worker}
      </Step>
      <Ended iteration={data} />
    </>
  );
}

function Ended({ iteration }: { iteration: Iteration }) {
  const shown = shownOf(iteration);
  if (shown === "running") return <Step tone="active" icon="spinner" title="Running" />;
  return (
    <Step
      tone={shown === "ok" ? "done" : "bad"}
      icon={LOOKS[shown].icon}
      title={`Ended: ${LOOKS[shown].word}`}
    >
      after {duration(iteration.duration_ms)}
      {iteration.error_type !== null && `, ${iteration.error_type}`}
    </Step>
  );
}

interface StepProps {
  tone: "done" | "active" | "bad";
  icon: IconName;
  title: string;
  children?: ReactNode;
}

function Step({ tone, icon, title, children }: StepProps) {
  return (
    <li className={styles[tone]}>
      <span className={styles.dot}>
        <Icon name={icon} size={13} />
      </span>
      <div>
        <b>{title}</b>
        {children !== undefined && <span>{children}</span>}
      </div>
    </li>
  );
}
