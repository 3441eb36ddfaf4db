import type { Iteration } from "@/http/model";
import { mergeIteration } from "@/http/read";

/** Rows, newest first, with what was told about them since; only newer ones are added. */
export function merged(
  rows: readonly Iteration[],
  told: readonly Iteration[],
  accepts: (one: Iteration) => boolean,
): Iteration[] {
  const result = [...rows];
  const newest = rows[0] === undefined ? 0 : Date.parse(rows[0].started_at);
  for (const next of told) {
    const at = result.findIndex((one) => one.id === next.id);
    if (at !== -1) result[at] = mergeIteration(result[at], next);
    else if (accepts(next) && Date.parse(next.started_at) >= newest) result.unshift(next);
  }
  return result.filter(accepts);
}
