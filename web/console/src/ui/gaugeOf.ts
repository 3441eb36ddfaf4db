export interface Limits {
  soft_s: number | null;
  hard_s: number | null;
}

export interface Shares {
  /** Shares of the hard limit, 0 to 1. */
  part: number;
  soft: number | null;
  isOverSoft: boolean;
}

/** A duration against its limits; null when there is no hard one. */
export function gaugeOf(durationMs: number, limits: Limits): Shares | null {
  if (limits.hard_s === null || limits.hard_s <= 0) return null;
  const hardMs = limits.hard_s * 1_000;
  const soft = limits.soft_s === null ? null : Math.min(1, (limits.soft_s * 1_000) / hardMs);
  const part = Math.min(1, durationMs / hardMs);
  return { part, soft, isOverSoft: soft !== null && part >= soft };
}
