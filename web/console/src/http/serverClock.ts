/**
 * The server's wall clock as far as its answers tell it. The record carries the server's times; on a
 * computer whose clock is wrong, "the last 15 minutes" would otherwise be another quarter of an hour.
 */
const NOISE_MS = 3_000;
let aheadMs = 0;

export function observeClock(response: Response): void {
  const told = Date.parse(response.headers.get("date") ?? "");
  if (Number.isNaN(told)) return;
  const difference = told - Date.now();
  aheadMs = Math.abs(difference) > NOISE_MS ? difference : 0;
}

export const serverNow = (): number => Date.now() + aheadMs;
