const format = new Intl.DateTimeFormat("en", {
  weekday: "short",
  day: "numeric",
  month: "short",
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hourCycle: "h23",
  timeZone: "UTC",
});

/** `2026-03-29T03:00:00+02:00` as the clock on that wall shows it, with its offset. */
export function localTime(local: string): string {
  const [, wall, offset] = /^(.{19})(?:\.\d+)?(.*)$/.exec(local) ?? [];
  if (wall === undefined) return local;
  return `${format.format(Date.parse(`${wall}Z`))} ${offset === "+00:00" ? "UTC" : offset}`;
}
