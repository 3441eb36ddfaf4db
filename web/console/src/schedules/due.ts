/** What is due next, by the page's clock: the rows themselves are read again only now and then. */
import type { Schedule } from "@/http/model";

export type Due =
  | { kind: "never"; why: "on request" | "disabled" | "paused" }
  | { kind: "paused"; until: number }
  | { kind: "at"; at: number }
  /** Nobody has claimed it since: no beat is running. */
  | { kind: "late"; byMs: number };

const TOLERATED_S = 3;

export function dueOf(schedule: Schedule | null, now: number, readAt: number): Due {
  if (schedule === null || schedule.next_due_at === null) {
    return { kind: "never", why: "on request" };
  }
  if (!schedule.enabled) return { kind: "never", why: "disabled" };
  if (isPaused(schedule, now)) {
    if (schedule.paused_until === null) return { kind: "never", why: "paused" };
    return { kind: "paused", until: Date.parse(schedule.paused_until) };
  }
  const overdue = schedule.overdue_s ?? 0;
  if (overdue > TOLERATED_S) return { kind: "late", byMs: overdue * 1_000 + (now - readAt) };
  const next = Date.parse(schedule.next_due_at);
  if (next >= now || schedule.every_s === null) return { kind: "at", at: Math.max(next, now) };
  const everyMs = schedule.every_s * 1_000;
  return { kind: "at", at: next + Math.ceil((now - next) / everyMs) * everyMs };
}

/** A pause ends by itself at its hour, whether or not the row has been read again. */
export function isPaused(schedule: Schedule, now: number): boolean {
  if (!schedule.paused) return false;
  return schedule.paused_until === null || Date.parse(schedule.paused_until) > now;
}
