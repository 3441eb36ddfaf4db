import { useQuery, useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { api } from "@/app/services";
import type { WholeSlot } from "@/http/model";
import { StateDiagram } from "@/iterations/StateDiagram";
import { stepsOfSlot } from "@/iterations/steps";
import { useChannel } from "@/live/useLive";
import { useJobs } from "@/overview/data";
import { slotLook } from "@/overview/look";
import { Chip } from "@/ui/Chip";
import { Copyable } from "@/ui/Copyable";
import { Drawer, Facts, Group } from "@/ui/Drawer";
import { Loaded } from "@/ui/Panel";
import { moment, utc } from "@/ui/time";

export function SlotPanel({ id, onClose }: { id: string; onClose: () => void }) {
  const client = useQueryClient();
  const key = ["slots", "one", id];
  const query = useQuery({
    queryKey: key,
    queryFn: ({ signal }) =>
      api.get<WholeSlot>(`/api/v1/slots/${encodeURIComponent(id)}`, {}, signal),
  });
  const reread = () => void client.invalidateQueries({ queryKey: key });
  useChannel(`slot:${id}`, { onEvent: reread, onResync: reread });
  return (
    <Drawer title={query.data?.job ?? "Slot"} label="Slot" onClose={onClose}>
      <Loaded query={query} rows={8}>
        {(slot) => <Story slot={slot} />}
      </Loaded>
    </Drawer>
  );
}

function Story({ slot }: { slot: WholeSlot }) {
  const jobs = useJobs();
  const queue = jobs.data?.find((job) => job.name === slot.job)?.queue ?? null;
  return (
    <>
      <div>
        <Chip look={slotLook(slot)} />
      </div>
      <StateDiagram steps={stepsOfSlot(slot, queue)} upright />
      <Group title="Slot">
        <Facts
          rows={{
            Scope: slot.scope === "" ? "none" : <span className="mono">{slot.scope}</span>,
            "Due times": String(slot.count),
            Attempt: String(slot.attempt),
            "May wait until": <span title={utc(slot.expires_at)}>{moment(slot.expires_at)}</span>,
            Iterations: slot.iteration_ids.length === 0 ? "none" : <Iterations slot={slot} />,
            Identity: <Copyable text={slot.id} />,
          }}
        />
      </Group>
    </>
  );
}

const Iterations = ({ slot }: { slot: WholeSlot }) => (
  <ul>
    {slot.iteration_ids.map((one) => (
      <li key={one}>
        <Link to="/iterations/$id" params={{ id: one }} className="mono">
          {one}
        </Link>
      </li>
    ))}
  </ul>
);
