import type { InfiniteData, QueryClient } from "@tanstack/react-query";
import { api } from "@/app/services";
import type { Page } from "@/http/api";
import { type Iteration, type Job, OUTCOMES } from "@/http/model";
import { mergeIteration, readIteration } from "@/http/read";
import { Button } from "@/ui/Button";
import { Chip } from "@/ui/Chip";
import { Choice, Filters } from "@/ui/Filters";
import { Gauge } from "@/ui/Gauge";
import { gaugeOf } from "@/ui/gaugeOf";
import { narrowed } from "@/ui/narrowed";
import { Pages } from "@/ui/Pages";
import { Empty, Panel } from "@/ui/Panel";
import { Clipped, Row, RowButton, Table } from "@/ui/Table";
import { duration, moment, utc } from "@/ui/time";
import { PAGE, usePages } from "@/ui/usePages";
import { useJobs } from "./data";
import styles from "./IterationTable.module.css";
import { JobChoice } from "./JobChoice";
import { LOOKS, lookOf } from "./look";
import { withRecent } from "./recent";
import type { OverviewSearch } from "./search";

export type Filter = Pick<OverviewSearch, "job" | "scope" | "outcome" | "open">;

type Rows = InfiniteData<Page<Iteration>, string | null>;

const OUTCOME_OPTIONS = OUTCOMES.map((value) => ({ value, word: LOOKS[value].word }));
const COLUMNS = [
  "Job",
  "Scope",
  "Started",
  "Duration / limit",
  "Outcome",
  "Worker",
  "Ended by",
  "Error",
] as const;

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

function useIterations(filter: Filter) {
  return usePages(tableKey(filter), async (cursor, signal): Promise<Page<Iteration>> => {
    const query = { ...filter, limit: PAGE, cursor };
    const page = await api.get<Page<unknown>>("/api/v1/iterations", query, signal);
    const items = page.items.map((row) => readIteration(row)).filter((row) => row !== null);
    const accepts = (row: Iteration) => matches(filter, row);
    const { next_cursor } = page;
    return { items: cursor === null ? withRecent(items, accepts) : items, next_cursor };
  });
}

interface IterationTableProps {
  filter: Filter;
  selected: string | null;
  onFilter: (filter: Filter) => void;
  onSelect: (id: string) => void;
}

export function IterationTable({ filter, selected, onFilter, onSelect }: IterationTableProps) {
  const query = useIterations(filter);
  return (
    <Panel title="Iterations" note="newest first, live">
      <IterationFilters filter={filter} onFilter={onFilter} />
      <Pages
        query={query}
        empty={
          <Empty action={<Button onClick={() => onFilter({})}>Clear the filters</Button>}>
            No iteration matches these filters.
          </Empty>
        }
        more="Load older"
      >
        {(iterations) => (
          <Iterations iterations={iterations} selected={selected} onSelect={onSelect} />
        )}
      </Pages>
    </Panel>
  );
}

interface FiltersProps {
  filter: Filter;
  onFilter: (filter: Filter) => void;
}

function IterationFilters({ filter, onFilter }: FiltersProps) {
  return (
    <Filters>
      <JobChoice value={filter.job} onChange={(job) => onFilter(narrowed(filter, { job }))} />
      <Choice
        label="Outcome"
        all="All outcomes"
        value={filter.outcome}
        options={OUTCOME_OPTIONS}
        onChange={(outcome) => onFilter(narrowed(filter, { outcome, open: undefined }))}
      />
      <label className={styles.check}>
        <input
          type="checkbox"
          checked={filter.open === true}
          onChange={({ target: { checked } }) =>
            onFilter(narrowed(filter, checked ? { open: true, outcome: "" } : { open: undefined }))
          }
        />
        Running only
      </label>
      {filter.scope !== undefined && (
        <Button small icon="cross" onClick={() => onFilter(narrowed(filter, { scope: "" }))}>
          scope {filter.scope}
        </Button>
      )}
    </Filters>
  );
}

interface IterationsProps {
  iterations: readonly Iteration[];
  selected: string | null;
  onSelect: (id: string) => void;
}

function Iterations({ iterations, selected, onSelect }: IterationsProps) {
  const jobs = useJobs();
  const limits = new Map(jobs.data?.map((job) => [job.name, job]));
  return (
    <Table name="iterations" columns={COLUMNS}>
      {iterations.map((one) => (
        <Row key={one.id} selected={one.id === selected} onOpen={() => onSelect(one.id)}>
          <td>
            <RowButton>{one.job}</RowButton>
          </td>
          <td>
            <Clipped text={one.scope} />
          </td>
          <td title={utc(one.started_at)}>{moment(one.started_at)}</td>
          <td>
            <Length ms={one.duration_ms} job={limits.get(one.job)} />
          </td>
          <td>
            <Chip look={lookOf(one)} />
          </td>
          <td className="mono">
            {one.worker || "–"}
            {one.pid !== null && <span className="muted"> #{one.pid}</span>}
          </td>
          <td>{one.ended_by ?? <span className="muted">–</span>}</td>
          <td className={styles.error} title={one.error_type ?? undefined}>
            {one.error_type ?? <span className="muted">–</span>}
          </td>
        </Row>
      ))}
    </Table>
  );
}

function Length({ ms, job }: { ms: number | null; job: Job | undefined }) {
  if (ms === null) return <span className="muted">running</span>;
  const shares = job === undefined ? null : gaugeOf(ms, job);
  if (shares === null) return <span>{duration(ms)}</span>;
  return (
    <span
      className={styles.length}
      title={`of ${job?.hard_s} s hard, ${job?.soft_s ?? "no"} s soft`}
    >
      <span>{duration(ms)}</span>
      <Gauge shares={shares} />
    </span>
  );
}
