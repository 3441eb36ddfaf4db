import { live } from "@/app/services";
import type { Iteration } from "@/http/model";
import { readIteration } from "@/http/read";
import { merged } from "./merged";

/**
 * The rows with what the channel told while they were on their way: an answer that was read before
 * an event must not undo it.
 */
export function withRecent(
  rows: readonly Iteration[],
  accepts: (one: Iteration) => boolean,
): Iteration[] {
  const told = live
    .recent("iterations")
    .map((event) => readIteration(event.data, event))
    .filter((one) => one !== null);
  return merged(rows, told, accepts);
}
