import { type QueryClient, useQuery } from "@tanstack/react-query";
import { api } from "@/app/services";
import type { Page } from "@/http/api";
import type { Iteration, Job, Slot } from "@/http/model";
import { mergeIteration, readIteration, readJob } from "@/http/read";
import { RANGE_MS, type Range } from "./search";

const PAGE = 200;
const PAGES = 3;
const SKIPS = 200;

export interface Lane {
  /** Newest first. */
  items: readonly Iteration[];
  /** Start of the oldest one loaded when older ones of the range were left out, else null. */
  cutAt: number | null;
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

const sinceOf = (range: Range): string => new Date(Date.now() - RANGE_MS[range]).toISOString();

/** The newest iterations of one job in the range: at most three pages, and it says when that is not all. */
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
  return { items, cutAt: cursor === null || !oldest ? null : Date.parse(oldest.started_at) };
}

export async function fetchSkips(range: Range, signal: AbortSignal): Promise<Slot[]> {
  const query = { state: "skipped", since: sinceOf(range), limit: SKIPS };
  return (await api.get<Page<Slot>>("/api/v1/slots", query, signal)).items;
}

export function upsert(lane: Lane, next: Iteration): Lane {
  const at = lane.items.findIndex((one) => one.id === next.id);
  if (at === -1) return { ...lane, items: [next, ...lane.items].slice(0, PAGE * PAGES * 2) };
  const items = lane.items.slice();
  items[at] = mergeIteration(items[at], next);
  return { ...lane, items };
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
