import { type QueryClient, useQuery } from "@tanstack/react-query";
import { api } from "@/app/services";
import type { Page } from "@/http/api";
import { type Iteration, type Job, OUTCOMES, type Slot } from "@/http/model";
import { mergeIteration, readIteration, readJob } from "@/http/read";
import { serverNow } from "@/http/serverClock";
import { withRecent } from "./recent";
import { RANGE_MS, type Range } from "./search";

const PAGE = 200;
const PAGES = 3;
const SKIPS = 200;
const KEPT = 2_000;

export interface Lane {
  /** Newest first. */
  items: readonly Iteration[];
  /** Before this moment only trouble was loaded; null when everything of the range was. */
  cutAt: number | null;
  range: Range;
}

export const laneKey = (job: string, range: Range) => ["iterations", "lane", job, range] as const;
export const skipsKey = (range: Range) => ["slots", "skipped", range] as const;
export const iterationKey = (id: string) => ["iterations", "one", id] as const;

export function useJobs() {
  return useQuery({
    queryKey: ["jobs"],
    queryFn: async ({ signal }): Promise<Job[]> => {
      const page = await api.get<Page<unknown>>("/api/v1/jobs", {}, signal);
      return page.items.map(readJob);
    },
    staleTime: 60_000,
  });
}

const sinceOf = (range: Range): string => new Date(serverNow() - RANGE_MS[range]).toISOString();

/**
 * One job's iterations in the range. A job that runs every two seconds has ten thousand in six
 * hours: beyond three pages only what did not end well is read, so that no failure is ever hidden.
 */
export async function fetchLane(job: string, range: Range, signal: AbortSignal): Promise<Lane> {
  const items: Iteration[] = [];
  let cursor: string | null = null;
  for (let page = 0; page < PAGES; page += 1) {
    const query = { job, since: sinceOf(range), limit: PAGE, cursor };
    const answer: Page<unknown> = await api.get<Page<unknown>>("/api/v1/iterations", query, signal);
    for (const row of answer.items) {
      const iteration = readIteration(row);
      if (iteration !== null) items.push(iteration);
    }
    cursor = answer.next_cursor;
    if (cursor === null) break;
  }
  const oldest = items.at(-1);
  if (cursor === null || oldest === undefined) {
    return { items: withRecent(items, (one) => one.job === job), cutAt: null, range };
  }
  const cutAt = Date.parse(oldest.started_at);
  const older = (await fetchTrouble(job, range, signal)).filter(
    (one) => Date.parse(one.started_at) < cutAt,
  );
  return { items: withRecent([...items, ...older], (one) => one.job === job), cutAt, range };
}

async function fetchTrouble(job: string, range: Range, signal: AbortSignal): Promise<Iteration[]> {
  const since = sinceOf(range);
  const pages = await Promise.all(
    OUTCOMES.filter((outcome) => outcome !== "ok").map((outcome) =>
      api.get<Page<unknown>>("/api/v1/iterations", { job, outcome, since, limit: PAGE }, signal),
    ),
  );
  return pages
    .flatMap((page) => page.items)
    .map((row) => readIteration(row))
    .filter((one) => one !== null)
    .sort((a, b) => Date.parse(b.started_at) - Date.parse(a.started_at));
}

export async function fetchSkips(range: Range, signal: AbortSignal): Promise<Slot[]> {
  const query = { state: "skipped", since: sinceOf(range), limit: SKIPS };
  return (await api.get<Page<Slot>>("/api/v1/slots", query, signal)).items;
}

export function upsert(lane: Lane, next: Iteration): Lane {
  const at = lane.items.findIndex((one) => one.id === next.id);
  if (at === -1) return { ...lane, items: pruned([next, ...lane.items], lane.range) };
  const items = lane.items.slice();
  items[at] = mergeIteration(items[at], next);
  return { ...lane, items };
}

/** A tab that stays open forgets what has left the range. */
function pruned(items: readonly Iteration[], range: Range): readonly Iteration[] {
  if (items.length < KEPT) return items;
  const since = serverNow() - RANGE_MS[range];
  return items.filter(
    (one, index) =>
      Date.parse(one.started_at) > since && (index < KEPT / 2 || one.outcome !== "ok"),
  );
}

/** Writes a live iteration into every lane and panel that shows its job. */
export function applyIteration(client: QueryClient, next: Iteration): void {
  client.setQueriesData<Lane>({ queryKey: ["iterations", "lane", next.job] }, (lane) =>
    lane === undefined ? lane : upsert(lane, next),
  );
  client.setQueryData<Iteration>(iterationKey(next.id), (known) =>
    known === undefined ? known : mergeIteration(known, next),
  );
}

export function applySkip(client: QueryClient, slot: Slot): void {
  client.setQueriesData<Slot[]>({ queryKey: ["slots", "skipped"] }, (slots) =>
    slots === undefined
      ? slots
      : [slot, ...slots.filter((one) => one.id !== slot.id)].slice(0, SKIPS * 2),
  );
}
