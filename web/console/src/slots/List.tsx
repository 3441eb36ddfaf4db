import { useInfiniteQuery, useQueryClient } from "@tanstack/react-query";
import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import { useEffect, useRef } from "react";
import { api } from "@/app/services";
import type { Page } from "@/http/api";
import type { WholeSlot } from "@/http/model";
import type { LiveEvent } from "@/live/protocol";
import { useChannel } from "@/live/useLive";
import { useJobs } from "@/overview/data";
import { SKIP_REASONS, slotLook } from "@/overview/look";
import styles from "@/overview/Table.module.css";
import { Button } from "@/ui/Button";
import { Chip } from "@/ui/Chip";
import { Empty, Panel, ProblemPanel, Skeleton } from "@/ui/Panel";
import { moment, utc } from "@/ui/time";
import { SlotPanel } from "./SlotPanel";
import { REASONS, type SlotsSearch, STATES } from "./search";

type Filter = Omit<SlotsSearch, "slot">;

const KEY = ["slots", "list"] as const;
const REREAD_MS = 2_000;
const STATE_WORDS = { pending: "Waiting", started: "Started", skipped: "Skipped" };

function useSlots(filter: Filter) {
  return useInfiniteQuery({
    queryKey: [...KEY, filter],
    initialPageParam: null as string | null,
    queryFn: ({ pageParam, signal }) =>
      api.get<Page<WholeSlot>>(
        "/api/v1/slots",
        { ...filter, limit: 50, cursor: pageParam },
        signal,
      ),
    getNextPageParam: (page) => page.next_cursor,
    placeholderData: (before) => before,
  });
}

/** Read again when a slot that the filter shows may have changed, every two seconds at most. */
function useLiveSlots(filter: Filter): void {
  const client = useQueryClient();
  const timer = useRef<number | null>(null);
  useEffect(() => () => window.clearTimeout(timer.current ?? undefined), []);
  const reread = () => {
    if (timer.current !== null) return;
    timer.current = window.setTimeout(() => {
      timer.current = null;
      void client.invalidateQueries({ queryKey: KEY });
    }, REREAD_MS);
  };
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
  const rows = query.data?.pages.flatMap((page) => page.items);
  const open = (id: string) => go({ ...filter, slot: id });
  return (
    <>
      <Panel title="Slots" note="each due time of a job, newest first, live">
        <Filters filter={filter} onFilter={go} />
        {rows === undefined && query.error !== null && (
          <ProblemPanel error={query.error} onRetry={() => void query.refetch()} />
        )}
        {rows === undefined && query.error === null && <Skeleton rows={10} />}
        {rows?.length === 0 && (
          <Empty action={<Button onClick={() => go({})}>Clear the filters</Button>}>
            {filter.state === "skipped" || filter.reason !== undefined
              ? "Nothing was skipped: every due time that these filters show has started."
              : "No slot matches these filters."}
          </Empty>
        )}
        {rows !== undefined && rows.length > 0 && (
          <Rows rows={rows} selected={slot ?? null} onSelect={open} />
        )}
        {query.hasNextPage && (
          <div className={styles.more}>
            <Button disabled={query.isFetchingNextPage} onClick={() => void query.fetchNextPage()}>
              {query.isFetchingNextPage ? "Loading…" : "Load older"}
            </Button>
          </div>
        )}
      </Panel>
      {slot !== undefined && <SlotPanel key={slot} id={slot} onClose={() => go(filter)} />}
    </>
  );
}

function Filters({ filter, onFilter }: { filter: Filter; onFilter: (filter: Filter) => void }) {
  const jobs = useJobs();
  const change = (next: Record<string, string>): void => {
    const merged = Object.entries({ ...filter, ...next }).filter(([, value]) => value !== "");
    onFilter(Object.fromEntries(merged) as Filter);
  };
  return (
    <search className={styles.filters}>
      <select
        className={styles.control}
        aria-label="Job"
        data-search
        value={filter.job ?? ""}
        onChange={(event) => change({ job: event.target.value })}
      >
        <option value="">All jobs</option>
        {jobs.data?.map((job) => (
          <option key={job.name}>{job.name}</option>
        ))}
      </select>
      <select
        className={styles.control}
        aria-label="State"
        value={filter.state ?? ""}
        onChange={(event) => change({ state: event.target.value, reason: "" })}
      >
        <option value="">All states</option>
        {STATES.map((state) => (
          <option key={state} value={state}>
            {STATE_WORDS[state]}
          </option>
        ))}
      </select>
      <select
        className={styles.control}
        aria-label="Reason of the skip"
        value={filter.reason ?? ""}
        onChange={(event) =>
          change({ reason: event.target.value, ...(event.target.value && { state: "skipped" }) })
        }
      >
        <option value="">Any reason</option>
        {REASONS.map((reason) => (
          <option key={reason} value={reason}>
            {reason}: {SKIP_REASONS[reason]}
          </option>
        ))}
      </select>
    </search>
  );
}

interface RowsProps {
  rows: readonly WholeSlot[];
  selected: string | null;
  onSelect: (id: string) => void;
}

function Rows({ rows, selected, onSelect }: RowsProps) {
  return (
    <div className={styles.scroll}>
      <table className={styles.table} data-testid="slots">
        <thead>
          <tr>
            <th scope="col">Job</th>
            <th scope="col">Scope</th>
            <th scope="col">Due</th>
            <th scope="col">State</th>
            <th scope="col">Why</th>
            <th scope="col">Due times</th>
            <th scope="col">Asked for by</th>
            <th scope="col">Iterations</th>
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr
              key={row.id}
              data-row
              aria-selected={row.id === selected}
              onClick={() => onSelect(row.id)}
            >
              <td>
                <button type="button" className={styles.open}>
                  {row.job}
                </button>
              </td>
              <td>
                <span className={styles.scope} title={row.scope}>
                  {row.scope === "" ? <span className="muted">–</span> : row.scope}
                </span>
              </td>
              <td title={utc(row.due_at)}>{moment(row.due_at)}</td>
              <td>
                <Chip look={slotLook(row)} />
              </td>
              <td>
                {row.reason === null ? (
                  <span className="muted">–</span>
                ) : (
                  (SKIP_REASONS[row.reason] ?? row.reason)
                )}
              </td>
              <td>{row.count}</td>
              <td>
                {row.origin === "run" ? (row.asked_by ?? "the command line") : "the schedule"}
              </td>
              <td>
                <Iterations ids={row.iteration_ids} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
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
