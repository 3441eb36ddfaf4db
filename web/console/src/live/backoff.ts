const BASE_MS = 500;
const CAP_MS = 30_000;

/** Full jitter: uniform in [0, min(cap, base * 2^n)), so that a thousand tabs do not return at once. */
export function fullJitter(failures: number, random: () => number): number {
  const ceiling = Math.min(CAP_MS, BASE_MS * 2 ** Math.max(0, failures));
  return Math.floor(random() * ceiling);
}
