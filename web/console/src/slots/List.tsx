import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import { api } from "@/app/services";
import type { Page } from "@/http/api";
import type { WholeSlot } from "@/http/model";
import type { LiveEvent } from "@/live/protocol";
import { useChannel } from "@/live/useLive";
import { JobChoice } from "@/overview/JobChoice";
import { SKIP_REASONS, slotLook } from "@/overview/look";
import { Button } from "@/ui/Button";
import { Chip } from "@/ui/Chip";
import { Choice, Filters } from "@/ui/Filters";
import { narrowed } from "@/ui/narrowed";
import { Pages } from "@/ui/Pages";
import { Empty, Panel } from "@/ui/Panel";
import { Clipped, Row, RowButton, Table } from "@/ui/Table";
import { moment, utc } from "@/ui/time";
import { PAGE, usePages } from "@/ui/usePages";
import { useReread } from "@/ui/useReread";
import { SlotPanel } from "./SlotPanel";
import { REASONS, type SlotsSearch, STATES } from "./search";

type Filter = Omit<SlotsSearch, "slot">;

const KEY = ["slots", "list"] as const;
const REREAD_MS = 2_000;
const STATE_WORDS = { pending: "Waiting", started: "Started", skipped: "Skipped" };
const STATE_OPTIONS = STATES.map((value) => ({ value, word: STATE_WORDS[value] }));
const REASON_OPTIONS = REASONS.map((value) => ({
  value,
  word: `${value}: ${SKIP_REASONS[value]}`,
}));
const COLUMNS = [
  "Job",
  "Scope",
  "Due",
  "State",
  "Why",
  "Due times",
  "Asked for by",
  "Iterations",
] as const;

function useSlots(filter: Filter) {
  return usePages([...KEY, filter], (cursor, signal) =>
    api.get<Page<WholeSlot>>("/api/v1/slots", { ...filter, limit: PAGE, cursor }, signal),
  );
}

/** Read again when a slot that the filter shows may have changed, every two seconds at most. */
function useLiveSlots(filter: Filter): void {
  const reread = useReread(KEY, REREAD_MS);
  const told = (event: LiveEvent) => {
    const concerns = filter.job === undefined || event.data.job === filter.job;
    const isSkip = event.type === "slot.skipped";
    if (concerns && (isSkip || filter.state !== "skipped")) reread();
  };
  useChannel("iterations", { onEvent: told, onResync: reread });
}

export function SlotList() {
  const { slot, ...filter } = useSearch({ from: "/slots" });
  const navigate = useNavigate({ from: "/slots" });
  const go = (search: SlotsSearch) => void navigate({ search, replace: true, resetScroll: false });
  const query = useSlots(filter);
  useLiveSlots(filter);
  return (
    <>
      <Panel title="Slots" note="each due time of a job, newest first, live">
        <SlotFilters filter={filter} onFilter={go} />
        <Pages
          query={query}
          empty={<NoSlots filter={filter} onClear={() => go({})} />}
          more="Load older"
        >
          {(slots) => (
            <Slots
              slots={slots}
              selected={slot ?? null}
              onSelect={(id) => go({ ...filter, slot: id })}
            />
          )}
        </Pages>
      </Panel>
      {slot !== undefined && <SlotPanel key={slot} id={slot} onClose={() => go(filter)} />}
    </>
  );
}

function NoSlots({ filter, onClear }: { filter: Filter; onClear: () => void }) {
  return (
    <Empty action={<Button onClick={onClear}>Clear the filters</Button>}>
      {filter.state === "skipped" || filter.reason !== undefined
        ? "Nothing was skipped: every due time that these filters show has started."
        : "No slot matches these filters."}
    </Empty>
  );
}

interface SlotFiltersProps {
  filter: Filter;
  onFilter: (filter: Filter) => void;
}

function SlotFilters({ filter, onFilter }: SlotFiltersProps) {
  return (
    <Filters>
      <JobChoice value={filter.job} onChange={(job) => onFilter(narrowed(filter, { job }))} />
      <Choice
        label="State"
        all="All states"
        value={filter.state}
        options={STATE_OPTIONS}
        onChange={(state) => onFilter(narrowed(filter, { state, reason: "" }))}
      />
      <Choice
        label="Reason of the skip"
        all="Any reason"
        value={filter.reason}
        options={REASON_OPTIONS}
        onChange={(reason) =>
          onFilter(narrowed(filter, { reason, ...(reason !== "" && { state: "skipped" }) }))
        }
      />
    </Filters>
  );
}

interface SlotsProps {
  slots: readonly WholeSlot[];
  selected: string | null;
  onSelect: (id: string) => void;
}

function Slots({ slots, selected, onSelect }: SlotsProps) {
  return (
    <Table name="slots" columns={COLUMNS}>
      {slots.map((slot) => (
        <Row key={slot.id} selected={slot.id === selected} onOpen={() => onSelect(slot.id)}>
          <td>
            <RowButton>{slot.job}</RowButton>
          </td>
          <td>
            <Clipped text={slot.scope} />
          </td>
          <td title={utc(slot.due_at)}>{moment(slot.due_at)}</td>
          <td>
            <Chip look={slotLook(slot)} />
          </td>
          <td>
            {slot.reason === null ? (
              <span className="muted">–</span>
            ) : (
              (SKIP_REASONS[slot.reason] ?? slot.reason)
            )}
          </td>
          <td>{slot.count}</td>
          <td>{slot.origin === "run" ? (slot.asked_by ?? "the command line") : "the schedule"}</td>
          <td>
            <Iterations ids={slot.iteration_ids} />
          </td>
        </Row>
      ))}
    </Table>
  );
}

function Iterations({ ids }: { ids: readonly string[] }) {
  const last = ids.at(-1);
  if (last === undefined) return <span className="muted">none</span>;
  return (
    <Link
      to="/iterations/$id"
      params={{ id: last }}
      onClick={(event) => event.stopPropagation()}
      className="mono"
    >
      {last}
      {ids.length > 1 && ` and ${ids.length - 1} before`}
    </Link>
  );
}
