/** For how long a schedule is paused: what the dialog offers, as the moment that the API wants. Pure. */
export const SPANS = [
  { value: "", label: "Until somebody resumes", ms: null },
  { value: "15m", label: "15 minutes", ms: 900_000 },
  { value: "1h", label: "1 hour", ms: 3_600_000 },
  { value: "8h", label: "8 hours", ms: 28_800_000 },
  { value: "1d", label: "1 day", ms: 86_400_000 },
  { value: "moment", label: "Until a moment…", ms: null },
] as const;

export type Span = (typeof SPANS)[number]["value"];

/** RFC 3339, or null for no end. `moment` is what a `datetime-local` field holds, in the reader's zone. */
export function untilOf(span: Span, moment: string, now: number): string | null {
  if (span === "moment") {
    const chosen = new Date(moment);
    return Number.isNaN(chosen.getTime()) ? null : chosen.toISOString();
  }
  const ms = SPANS.find((one) => one.value === span)?.ms ?? null;
  return ms === null ? null : new Date(now + ms).toISOString();
}
