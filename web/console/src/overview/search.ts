import { OUTCOMES, type Outcome } from "@/http/model";

export type Range = "15m" | "1h" | "6h";
export const RANGES: readonly Range[] = ["15m", "1h", "6h"];
export const RANGE_MS: Record<Range, number> = {
  "15m": 900_000,
  "1h": 3_600_000,
  "6h": 21_600_000,
};

/** The state of the overview that a link carries. Absent means the default. */
export interface OverviewSearch {
  range?: Range;
  view?: "table";
  internal?: true;
  job?: string;
  scope?: string;
  outcome?: Outcome;
  open?: true;
  iteration?: string;
}

const word = (value: unknown): string | undefined => {
  const text = typeof value === "string" || typeof value === "number" ? String(value) : "";
  return text === "" ? undefined : text;
};

export function readOverviewSearch(raw: Record<string, unknown>): OverviewSearch {
  const search: OverviewSearch = {};
  const range = RANGES.find((one) => one === raw.range);
  if (range !== undefined && range !== "15m") search.range = range;
  if (raw.view === "table") search.view = "table";
  if (raw.internal === true) search.internal = true;
  if (raw.open === true) search.open = true;
  const outcome = OUTCOMES.find((one) => one === raw.outcome);
  if (outcome !== undefined) search.outcome = outcome;
  for (const name of ["job", "scope", "iteration"] as const) {
    const value = word(raw[name]);
    if (value !== undefined) search[name] = value;
  }
  return search;
}
