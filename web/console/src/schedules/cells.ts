/** The newest slots of a job, as they are and as events change them. Pure. */
import type { Iteration, RecentSlot, Schedule, ScheduledJob, Slot } from "@/http/model";

export const STRIP = 24;

export type Cell =
  | "ok"
  | "failed"
  | "timed_out"
  | "killed"
  | "lost"
  | "canceled"
  | "running"
  | "waiting"
  | "skipped";

export function cellOf(slot: RecentSlot): Cell {
  if (slot.state === "skipped") return "skipped";
  if (slot.iteration_id === null) return "waiting";
  return slot.outcome ?? "running";
}

const WORDS: Record<Cell, string> = {
  ok: "ok",
  failed: "failed",
  timed_out: "timed out",
  killed: "killed",
  lost: "lost",
  canceled: "canceled",
  running: "running",
  waiting: "waiting",
  skipped: "skipped",
};

export const wordOf = (cell: Cell): string => WORDS[cell];

/** The strip in one sentence, for those who do not see it. */
export function summary(recent: readonly RecentSlot[]): string {
  if (recent.length === 0) return "no slot yet";
  const counts = new Map<Cell, number>();
  for (const slot of recent) counts.set(cellOf(slot), (counts.get(cellOf(slot)) ?? 0) + 1);
  const parts = [...counts].map(([cell, count]) => `${count} ${WORDS[cell]}`);
  return `the last ${recent.length}: ${parts.join(", ")}`;
}

function placed(recent: readonly RecentSlot[], slot: RecentSlot): RecentSlot[] {
  const at = recent.findIndex((one) => one.slot_id === slot.slot_id);
  if (at === -1) return [...recent, slot].slice(-STRIP);
  return recent.map((one, index) => (index === at ? slot : one));
}

type Jobs = readonly ScheduledJob[];

const changed = (jobs: Jobs, name: string, change: (job: ScheduledJob) => ScheduledJob) =>
  jobs.map((job) => (job.name === name ? change(job) : job));

export function withIteration(jobs: Jobs, next: Iteration): ScheduledJob[] {
  return changed(jobs, next.job, (job) => {
    const known = job.recent.find((one) => one.slot_id === next.slot_id);
    // Events of an attempt that another one has followed tell nothing new of the slot.
    if (known?.iteration_id && known.iteration_id > next.id) return job;
    if (known?.iteration_id === next.id && known.outcome !== null && next.outcome === null)
      return job;
    const slot: RecentSlot = {
      slot_id: next.slot_id,
      due_at: next.due_at,
      state: "started",
      reason: null,
      count: known?.count ?? 1,
      iteration_id: next.id,
      outcome: next.outcome,
      duration_ms: next.duration_ms,
    };
    const last = job.last_iteration;
    const isLast = last === null || last.id <= next.id;
    return {
      ...job,
      recent: placed(job.recent, slot),
      last_iteration: isLast
        ? {
            id: next.id,
            outcome: next.outcome,
            error_type: next.error_type,
            due_at: next.due_at,
            started_at: next.started_at,
            ended_at: next.ended_at,
            waited_ms: Math.max(0, Date.parse(next.started_at) - Date.parse(next.due_at)),
            duration_ms: next.duration_ms,
          }
        : last,
    };
  });
}

export function withSkip(jobs: Jobs, skip: Slot): ScheduledJob[] {
  return changed(jobs, skip.job, (job) => {
    const slot: RecentSlot = {
      slot_id: skip.id,
      due_at: skip.due_at,
      state: "skipped",
      reason: skip.reason,
      count: skip.count,
      iteration_id: null,
      outcome: null,
      duration_ms: null,
    };
    return { ...job, recent: placed(job.recent, slot) };
  });
}

/** The data of a `schedule.*` event is the schedule as it stands then. */
export function withSchedule(jobs: Jobs, data: Record<string, unknown>): ScheduledJob[] {
  return changed(jobs, String(data.job ?? ""), (job) => ({
    ...job,
    schedule: "next_due_at" in data ? (data as unknown as Schedule) : job.schedule,
    quarantine: data.quarantined === false ? [] : job.quarantine,
  }));
}
