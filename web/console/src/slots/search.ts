export const STATES = ["pending", "started", "skipped"] as const;
export const REASONS = [
  "overlap",
  "expired",
  "paused",
  "outage",
  "canceled",
  "undelivered",
  "quarantined",
] as const;

/** The state of the slots screen that a link carries. */
export interface SlotsSearch {
  job?: string;
  state?: (typeof STATES)[number];
  reason?: (typeof REASONS)[number];
  /** The slot whose panel is open. */
  slot?: string;
}

export function readSlotsSearch(raw: Record<string, unknown>): SlotsSearch {
  const search: SlotsSearch = {};
  const state = STATES.find((one) => one === raw.state);
  const reason = REASONS.find((one) => one === raw.reason);
  if (state !== undefined) search.state = state;
  if (reason !== undefined) search.reason = reason;
  for (const name of ["job", "slot"] as const) {
    const value = raw[name];
    if (typeof value === "string" && value !== "") search[name] = value;
  }
  return search;
}
