/** How times and durations are written. Machine times are RFC 3339; the reader's zone is the browser's. */

const clock = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hourCycle: "h23",
});
const shortClock = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit",
  minute: "2-digit",
  hourCycle: "h23",
});
const day = new Intl.DateTimeFormat("en", { day: "numeric", month: "short", year: "numeric" });
const dayClock = new Intl.DateTimeFormat("en", {
  day: "numeric",
  month: "short",
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hourCycle: "h23",
});

export const clockTime = (ms: number): string => clock.format(ms);
export const shortTime = (ms: number): string => shortClock.format(ms);
export const date = (iso: string): string => day.format(Date.parse(iso));
export const moment = (iso: string): string => dayClock.format(Date.parse(iso));

/** For a tooltip: the exact instant, in UTC. */
export function utc(iso: string): string {
  const parsed = new Date(iso);
  return Number.isNaN(parsed.getTime()) ? iso : parsed.toISOString();
}

export function duration(ms: number | null): string {
  if (ms === null) return "–";
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 10_000) return `${(ms / 1_000).toFixed(2)} s`;
  if (ms < 60_000) return `${(ms / 1_000).toFixed(1)} s`;
  return span(ms);
}

/** The two largest units: `3 d 4 h`, `2 min 5 s`. */
export function span(ms: number): string {
  const total = Math.max(0, Math.round(ms / 1_000));
  const parts: [number, string][] = [
    [Math.floor(total / 86_400), "d"],
    [Math.floor((total % 86_400) / 3_600), "h"],
    [Math.floor((total % 3_600) / 60), "min"],
    [total % 60, "s"],
  ];
  const first = parts.findIndex(([value]) => value > 0);
  if (first === -1) return "0 s";
  return parts
    .slice(first, first + 2)
    .filter(([value]) => value > 0)
    .map(([value, unit]) => `${value} ${unit}`)
    .join(" ");
}

/** `in 3 d`, `2 h ago`, by the largest unit. */
export function relative(iso: string, now: number): string {
  const difference = Date.parse(iso) - now;
  const text = span(Math.abs(difference)).split(" ").slice(0, 2).join(" ");
  if (Math.abs(difference) < 1_000) return "now";
  return difference > 0 ? `in ${text}` : `${text} ago`;
}
