import type { QueryClient } from "@tanstack/react-query";
import { api } from "@/app/services";
import type { Page } from "@/http/api";
import type { Iteration } from "@/http/model";
import { readIteration } from "@/http/read";
import { serverNow } from "@/http/serverClock";
import { applyIteration, type Lane } from "./data";
import { applyToTables } from "./IterationTable";

const MARGIN_MS = 5_000;
const LIMIT = 200;
const PATIENCE_MS = 10_000;
const STEP_MS = 100;

/** Writes an iteration into everything on the screen that shows it. */
export function show(client: QueryClient, iteration: Iteration): void {
  applyIteration(client, iteration);
  applyToTables(client, iteration);
}

/**
 * One request for what happened between the first reading and the subscription. Whatever was still
 * running then is included; when there is more than one page, everything is read again.
 */
export async function catchUp(client: QueryClient, shownAt: number): Promise<void> {
  await settled(client);
  const since = new Date(Math.min(shownAt, ...openSince(client)) - MARGIN_MS).toISOString();
  let page: Page<unknown>;
  try {
    page = await api.get<Page<unknown>>("/api/v1/iterations", { since, limit: LIMIT });
  } catch {
    // The panels show what is wrong with the server; here it only means to read everything again.
    void client.invalidateQueries({ queryKey: ["iterations"] });
    return;
  }
  if (page.next_cursor !== null) void client.invalidateQueries({ queryKey: ["iterations"] });
  for (const row of page.items.toReversed()) {
    const iteration = readIteration(row);
    if (iteration !== null) show(client, iteration);
  }
}

/** What is on its way was asked for before the subscription: wait for it, then add to it. */
async function settled(client: QueryClient): Promise<void> {
  for (let waited = 0; waited < PATIENCE_MS; waited += STEP_MS) {
    if (client.isFetching({ queryKey: ["iterations"] }) === 0) return;
    await new Promise((resolve) => setTimeout(resolve, STEP_MS));
  }
}

const OLDEST_MS = 10 * 60_000;

/** Starts of those shown as running: their END may be what was missed. */
function openSince(client: QueryClient): number[] {
  const lanes = client.getQueriesData<Lane>({ queryKey: ["iterations", "lane"] });
  const oldest = serverNow() - OLDEST_MS;
  return lanes
    .flatMap(([, lane]) => lane?.items ?? [])
    .filter((one) => one.ended_at === null)
    .map((one) => Math.max(oldest, Date.parse(one.started_at)));
}
