/**
 * Readers of answers whose shape is wider than what the screens need, and of the events of the
 * live layer, which carry the same objects with `<noun>_id` for `id`.
 */
import type { LiveEvent } from "@/live/protocol";
import type {
  Alert,
  Counters,
  Iteration,
  Job,
  Outcome,
  QueueRow,
  Readiness,
  Slot,
  WorkerRow,
} from "./model";

type Json = Record<string, unknown>;

export const record = (value: unknown): Json =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Json) : {};

function text(raw: Json, ...names: string[]): string | null {
  for (const name of names) {
    const value = raw[name];
    if (typeof value === "string") return value;
  }
  return null;
}

function number(raw: Json, ...names: string[]): number | null {
  for (const name of names) {
    const value = raw[name];
    if (typeof value === "number" && Number.isFinite(value)) return value;
  }
  return null;
}

export function readJob(value: unknown): Job {
  const raw = record(value);
  const schedule = record(raw.schedule);
  return {
    name: text(raw, "name", "job") ?? "?",
    title: text(raw, "title") ?? "",
    queue: text(raw, "queue") ?? "",
    every_s: number(raw, "every_s") ?? number(schedule, "every_s"),
    soft_s: number(raw, "soft_s"),
    hard_s: number(raw, "hard_s"),
    internal: raw.internal === true,
    paused: raw.paused === true || raw.enabled === false || schedule.paused === true,
  };
}

export function readQueue(value: unknown): QueueRow {
  const raw = record(value);
  return {
    queue: text(raw, "queue", "name") ?? "?",
    depth: number(raw, "depth") ?? 0,
    oldest_s: number(raw, "oldest_s"),
    wait_p95_s: number(raw, "wait_p95_s"),
    paused: raw.paused === true || (typeof raw.paused === "object" && raw.paused !== null),
  };
}

const ALIVE: ReadonlySet<string> = new Set(["online", "alive", "up", "ok", "ready", "running"]);

export function readWorker(value: unknown): WorkerRow {
  const raw = record(value);
  const state = text(raw, "state", "status");
  const online =
    typeof raw.online === "boolean"
      ? raw.online
      : typeof raw.alive === "boolean"
        ? raw.alive
        : state === null || ALIVE.has(state);
  return {
    name: text(raw, "name", "worker", "node", "id") ?? "?",
    role: text(raw, "role") ?? "worker",
    online,
  };
}

export function readAlert(value: unknown): Alert {
  const raw = record(value);
  const rule = text(raw, "rule", "name", "code", "kind") ?? "alert";
  return {
    id: text(raw, "id") ?? `${rule}:${text(raw, "subject", "key") ?? ""}`,
    rule,
    severity: text(raw, "severity", "level") ?? "warning",
    message: text(raw, "message", "summary", "title", "detail") ?? rule,
    since: text(raw, "since", "opened_at", "created_at", "started_at"),
    subject: text(raw, "subject", "object", "subject_id"),
  };
}

/** Alerts that are over stay in the list with a closing time; only the open ones need attention. */
export function isOpenAlert(value: unknown): boolean {
  const raw = record(value);
  if (text(raw, "resolved_at", "closed_at", "cleared_at", "ended_at") !== null) return false;
  const state = text(raw, "state", "status");
  return state !== "resolved" && state !== "closed";
}

export function readReadiness(value: unknown): Readiness {
  const raw = record(value);
  const parts: Readiness["parts"] = {};
  for (const [name, part] of Object.entries(record(raw.parts))) {
    if (typeof part === "string") parts[name] = { status: part, detail: null };
    else if (typeof part === "boolean")
      parts[name] = { status: part ? "ok" : "down", detail: null };
    else {
      const inner = record(part);
      parts[name] = {
        status: text(inner, "status", "state") ?? (inner.ok === false ? "down" : "ok"),
        detail: text(inner, "detail", "message", "error", "reason"),
      };
    }
  }
  const status = text(raw, "status");
  return { status: status === "ok" || status === "degraded" ? status : "down", parts };
}

/** An iteration out of an API row or an event's data; null without the essentials. */
export function readIteration(value: unknown, event?: LiveEvent): Iteration | null {
  const outer = record(value);
  const raw = "iteration" in outer ? record(outer.iteration) : outer;
  const id = event === undefined ? text(raw, "id") : text(raw, "iteration_id", "id");
  const job = text(raw, "job");
  if (id === null || job === null) return null;
  const ended = event?.type === "iteration.ended";
  const duration = number(raw, "duration_ms");
  const endedAt = text(raw, "ended_at") ?? (ended && event !== undefined ? event.ts : null);
  return {
    id,
    job,
    scope: text(raw, "scope") ?? "",
    slot_id: text(raw, "slot_id") ?? "",
    due_at: text(raw, "due_at") ?? "",
    attempt: number(raw, "attempt") ?? 1,
    worker: text(raw, "worker") ?? "",
    pid: number(raw, "pid"),
    started_at: text(raw, "started_at") ?? startedBefore(endedAt, duration, event),
    ended_at: endedAt,
    duration_ms: duration,
    outcome: text(raw, "outcome") as Outcome | null,
    ended_by: text(raw, "ended_by"),
    error_type: text(raw, "error_type"),
    error_message: text(raw, "error_message"),
    counters: "counters" in raw ? (record(raw.counters) as Counters) : null,
  };
}

function startedBefore(endedAt: string | null, duration: number | null, event?: LiveEvent): string {
  if (endedAt !== null && duration !== null) {
    return new Date(Date.parse(endedAt) - duration).toISOString();
  }
  return event?.ts ?? new Date(0).toISOString();
}

/** The slot that a `slot.skipped` event tells of; null without the essentials. */
export function readSkip(event: LiveEvent): Slot | null {
  const raw = record(event.data);
  if (typeof raw.slot_id !== "string" || typeof raw.job !== "string") return null;
  return {
    id: raw.slot_id,
    job: raw.job,
    scope: typeof raw.scope === "string" ? raw.scope : "",
    due_at: typeof raw.due_at === "string" ? raw.due_at : event.ts,
    origin: raw.origin === "run" ? "run" : "schedule",
    state: "skipped",
    reason: typeof raw.reason === "string" ? raw.reason : null,
    count: typeof raw.count === "number" ? raw.count : 1,
    iteration_ids: [],
  };
}

/** What an event adds to what is known; an END that says less than START does not erase it. */
export function mergeIteration(known: Iteration | undefined, next: Iteration): Iteration {
  if (known === undefined) return next;
  if (known.ended_at !== null && next.ended_at === null) return known;
  return {
    ...known,
    ...next,
    slot_id: next.slot_id || known.slot_id,
    due_at: next.due_at || known.due_at,
    worker: next.worker || known.worker,
    pid: next.pid ?? known.pid,
    started_at: known.started_at,
    counters: next.counters ?? known.counters,
  };
}
