import { type InfiniteData, type QueryClient, useInfiniteQuery } from "@tanstack/react-query";
import { api } from "@/app/services";
import type { Page } from "@/http/api";
import { type Iteration, type Job, OUTCOMES, type Outcome } from "@/http/model";
import { mergeIteration, readIteration } from "@/http/read";
import { Button } from "@/ui/Button";
import { Chip } from "@/ui/Chip";
import { Empty, Panel, ProblemPanel, Skeleton } from "@/ui/Panel";
import { duration, moment, utc } from "@/ui/time";
import { useJobs } from "./data";
import { LOOKS, lookOf } from "./look";
import { withRecent } from "./recent";
import type { OverviewSearch } from "./search";
import styles from "./Table.module.css";

export type Filter = Pick<OverviewSearch, "job" | "scope" | "outcome" | "open">;

type Rows = InfiniteData<Page<Iteration>, string | null>;

const tableKey = (filter: Filter) => ["iterations", "table", filter] as const;

function matches(filter: Filter, row: Iteration): boolean {
  return (
    (filter.job === undefined || filter.job === row.job) &&
    (filter.scope === undefined || filter.scope === row.scope) &&
    (filter.outcome === undefined || filter.outcome === row.outcome) &&
    (filter.open === undefined || row.ended_at === null)
  );
}

const KEPT_LIVE = 400;

/** Puts a live iteration into the tables it belongs to, and takes it out of those it no longer does. */
export function applyToTables(client: QueryClient, next: Iteration): void {
  for (const [key, rows] of client.getQueriesData<Rows>({ queryKey: ["iterations", "table"] })) {
    if (rows === undefined) continue;
    const filter = key[2] as Filter;
    client.setQueryData<Rows>(key, placed(rows, filter, next));
  }
}

function placed(rows: Rows, filter: Filter, next: Iteration): Rows {
  let known: Iteration | undefined;
  const pages = rows.pages.map((page) => ({
    ...page,
    items: page.items.flatMap((row) => {
      if (row.id !== next.id) return [row];
      known = mergeIteration(row, next);
      return matches(filter, known) ? [known] : [];
    }),
  }));
  const [first, ...rest] = pages;
  if (known !== undefined || first === undefined || !matches(filter, next))
    return { ...rows, pages };
  const items = [next, ...first.items].slice(0, KEPT_LIVE);
  return { ...rows, pages: [{ ...first, items }, ...rest] };
}

interface TableProps {
  filter: Filter;
  selected: string | null;
  onFilter: (filter: Filter) => void;
  onSelect: (id: string) => void;
}

export function IterationTable({ filter, selected, onFilter, onSelect }: TableProps) {
  const jobs = useJobs();
  const query = useInfiniteQuery({
    queryKey: tableKey(filter),
    initialPageParam: null as string | null,
    queryFn: async ({ pageParam, signal }): Promise<Page<Iteration>> => {
      const page = await api.get<Page<unknown>>(
        "/api/v1/iterations",
        { ...filter, limit: 50, cursor: pageParam },
        signal,
      );
      const items = page.items.map((row) => readIteration(row)).filter((row) => row !== null);
      const accepts = (row: Iteration) => matches(filter, row);
      const { next_cursor } = page;
      return { items: pageParam === null ? withRecent(items, accepts) : items, next_cursor };
    },
    getNextPageParam: (page) => page.next_cursor,
    placeholderData: (before) => before,
  });
  const limits = new Map(jobs.data?.map((job) => [job.name, job]));
  const rows = query.data?.pages.flatMap((page) => page.items);
  return (
    <Panel title="Iterations" note="newest first, live">
      <Filters filter={filter} jobs={jobs.data ?? []} onFilter={onFilter} />
      {rows === undefined && query.error !== null && (
        <ProblemPanel error={query.error} onRetry={() => void query.refetch()} />
      )}
      {rows === undefined && query.error === null && <Skeleton rows={10} />}
      {rows?.length === 0 && (
        <Empty action={<Button onClick={() => onFilter({})}>Clear the filters</Button>}>
          No iteration matches these filters.
        </Empty>
      )}
      {rows !== undefined && rows.length > 0 && (
        <Rows rows={rows} limits={limits} selected={selected} onSelect={onSelect} />
      )}
      {query.hasNextPage && (
        <div className={styles.more}>
          <Button disabled={query.isFetchingNextPage} onClick={() => void query.fetchNextPage()}>
            {query.isFetchingNextPage ? "Loading…" : "Load older"}
          </Button>
        </div>
      )}
    </Panel>
  );
}

interface FiltersProps {
  filter: Filter;
  jobs: readonly Job[];
  onFilter: (filter: Filter) => void;
}

function Filters({ filter, jobs, onFilter }: FiltersProps) {
  const change = (next: Partial<Record<keyof Filter, unknown>>): void => {
    const merged = Object.entries({ ...filter, ...next }).filter(([, value]) => Boolean(value));
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
        {jobs.map((job) => (
          <option key={job.name}>{job.name}</option>
        ))}
      </select>
      <select
        className={styles.control}
        aria-label="Outcome"
        value={filter.outcome ?? ""}
        onChange={(event) => change({ outcome: event.target.value as Outcome, open: undefined })}
      >
        <option value="">All outcomes</option>
        {OUTCOMES.map((outcome) => (
          <option key={outcome} value={outcome}>
            {LOOKS[outcome].word}
          </option>
        ))}
      </select>
      <label className={styles.check}>
        <input
          type="checkbox"
          checked={filter.open === true}
          onChange={(event) =>
            change({ open: event.target.checked, ...(event.target.checked && { outcome: "" }) })
          }
        />
        Running only
      </label>
      {filter.scope !== undefined && (
        <Button small icon="cross" onClick={() => change({ scope: "" })}>
          scope {filter.scope}
        </Button>
      )}
    </search>
  );
}

interface RowsProps {
  rows: readonly Iteration[];
  limits: ReadonlyMap<string, Job>;
  selected: string | null;
  onSelect: (id: string) => void;
}

function Rows({ rows, limits, selected, onSelect }: RowsProps) {
  return (
    <div className={styles.scroll}>
      <table className={styles.table} data-testid="iterations">
        <thead>
          <tr>
            <th scope="col">Job</th>
            <th scope="col">Scope</th>
            <th scope="col">Started</th>
            <th scope="col">Duration / limit</th>
            <th scope="col">Outcome</th>
            <th scope="col">Worker</th>
            <th scope="col">Ended by</th>
            <th scope="col">Error</th>
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
              <td title={utc(row.started_at)}>{moment(row.started_at)}</td>
              <td>
                <Length row={row} job={limits.get(row.job)} />
              </td>
              <td>
                <Chip look={lookOf(row)} />
              </td>
              <td className="mono">
                {row.worker || "–"}
                {row.pid !== null && <span className="muted"> #{row.pid}</span>}
              </td>
              <td>{row.ended_by ?? <span className="muted">–</span>}</td>
              <td className={styles.error} title={row.error_type ?? undefined}>
                {row.error_type ?? <span className="muted">–</span>}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** The duration as a bar against the hard limit; the tick is the soft limit. */
function Length({ row, job }: { row: Iteration; job: Job | undefined }) {
  const hardMs = (job?.hard_s ?? 0) * 1_000;
  if (row.duration_ms === null) return <span className="muted">running</span>;
  if (hardMs === 0) return <span>{duration(row.duration_ms)}</span>;
  const part = Math.min(1, row.duration_ms / hardMs);
  const soft = job?.soft_s == null ? null : (job.soft_s * 1_000) / hardMs;
  return (
    <span
      className={styles.length}
      title={`of ${job?.hard_s} s hard, ${job?.soft_s ?? "no"} s soft`}
    >
      <span>{duration(row.duration_ms)}</span>
      <span className={styles.gauge}>
        <i
          style={{ width: `${Math.max(2, part * 100)}%` }}
          data-high={soft !== null && part >= soft}
        />
        {soft !== null && <b style={{ left: `${soft * 100}%` }} />}
      </span>
    </span>
  );
}
