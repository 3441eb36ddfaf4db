/** The objects of the public API, as the console reads them. */

import type { Role } from "@/session/session";

export type Outcome = "ok" | "failed" | "timed_out" | "killed" | "lost" | "canceled";
export const OUTCOMES: readonly Outcome[] = [
  "ok",
  "failed",
  "timed_out",
  "killed",
  "lost",
  "canceled",
];

export interface Job {
  name: string;
  title: string;
  queue: string;
  every_s: number | null;
  soft_s: number | null;
  hard_s: number | null;
  internal: boolean;
  paused: boolean;
}

export type Counters = Record<string, number>;

export interface Iteration {
  id: string;
  job: string;
  scope: string;
  slot_id: string;
  due_at: string;
  attempt: number;
  worker: string;
  pid: number | null;
  started_at: string;
  ended_at: string | null;
  duration_ms: number | null;
  outcome: Outcome | null;
  ended_by: string | null;
  error_type: string | null;
  error_message: string | null;
  counters: Counters | null;
}

export interface Slot {
  id: string;
  job: string;
  scope: string;
  due_at: string;
  origin: "schedule" | "run";
  state: "pending" | "started" | "skipped";
  reason: string | null;
  count: number;
  iteration_ids: string[];
}

/** What the API tells of one slot beside what its events do. */
export interface WholeSlot extends Slot {
  attempt: number;
  expires_at: string;
  published_at: string | null;
  publish_tries: number;
  decided_at: string | null;
  /** Email or name of who asked for the run; null for the schedule and the command line. */
  asked_by: string | null;
}

/** One of the two events that the ledger holds of an iteration. */
export interface LedgerRecord {
  event_id: string;
  /** Its place in the commit order; null until the relay has given it one. */
  seq: number | null;
  type: string;
  ts: string;
  data: Record<string, unknown>;
}

export interface Effect {
  event_id: string;
  ts: string;
  type: string;
  subscription_id: string;
}

export interface IterationDetail extends Iteration {
  node_id: string;
  max_attempts: number;
  queue: string | null;
  task_id: string;
  slot: WholeSlot;
  limits: { soft_s: number | null; hard_s: number | null; deadline_at: string };
  records: LedgerRecord[];
  attempts: Iteration[];
  effects: { count: number; items: Effect[] };
}

export interface Schedule {
  job: string;
  every_s: number | null;
  cron: string | null;
  timezone: string;
  in_words: string;
  default_every_s: number | null;
  enabled: boolean;
  paused: boolean;
  paused_until: string | null;
  pause_reason: string | null;
  paused_by_name: string | null;
  quarantined: boolean;
  next_due_at: string | null;
  last_due_at: string | null;
  overdue_s: number | null;
}

/** One slot in a job's strip of recent outcomes. */
export interface RecentSlot {
  slot_id: string;
  due_at: string;
  state: Slot["state"];
  reason: string | null;
  count: number;
  iteration_id: string | null;
  outcome: Outcome | null;
  duration_ms: number | null;
}

export interface LastIteration {
  id: string;
  outcome: Outcome | null;
  error_type: string | null;
  due_at: string;
  started_at: string;
  ended_at: string | null;
  waited_ms: number;
  duration_ms: number | null;
}

export interface ScheduledJob {
  name: string;
  title: string;
  queue: string;
  soft_s: number;
  hard_s: number;
  internal: boolean;
  schedule: Schedule | null;
  quarantine: { scope: string; reason: string; since: string }[];
  last_iteration: LastIteration | null;
  /** Oldest first. */
  recent: RecentSlot[];
}

export interface Preview {
  in_words: string;
  timezone: string;
  due: { at: string; local: string }[];
}

export interface QueueRow {
  queue: string;
  depth: number;
  oldest_s: number | null;
  wait_p95_s: number | null;
  paused: boolean;
}

export interface WorkerRow {
  name: string;
  /** `worker`, `beat`, `relay`. */
  role: string;
  online: boolean;
}

export type BreakerState = "closed" | "open" | "half_open" | "unknown";

export interface Breaker {
  state: BreakerState;
  /** How it would stand if nothing were forced. */
  automatic: BreakerState;
  forced: {
    state: "open" | "closed";
    until: string;
    reason: string;
    set_by_name: string;
  } | null;
  /** Within the last minute; null when the states could not be read. */
  failures: number | null;
  /** Seconds until one call may ask whether the other side is back. */
  retry_after_s: number | null;
  opens: number;
  refused: number;
  over_budget: number;
  unguarded: number;
  /** Only where there are several. */
  nodes?: { name: string; state: BreakerState }[];
}

/** Something outside that this install may use. */
export interface Integration {
  name: string;
  kind: string;
  configured: boolean;
  state: "ok" | "degraded" | "off";
  last_ok_at: string | null;
  last_error: string | null;
  /** Null where only the other side calls. */
  breaker: Breaker | null;
}

export interface Probed {
  ok: boolean;
  took_ms: number;
  detail: string;
}

/** An API key; the key itself is in the answer to its making alone. */
export interface ApiKey {
  id: string;
  name: string;
  /** Its first characters. */
  prefix: string;
  role: Role;
  created_by_name: string;
  created_at: string;
  last_used_at: string | null;
  revoked_at: string | null;
}

export interface Alert {
  id: string;
  rule: string;
  severity: string;
  message: string;
  since: string | null;
  subject: string | null;
}

export interface Readiness {
  status: "ok" | "degraded" | "down";
  parts: Record<string, { status: string; detail: string | null }>;
}

export interface Money {
  amount_minor: number;
  currency: string;
}

export type SubscriptionStatus =
  | "incomplete"
  | "trialing"
  | "active"
  | "past_due"
  | "paused"
  | "canceled"
  | "expired";
export const STATUSES: readonly SubscriptionStatus[] = [
  "incomplete",
  "trialing",
  "active",
  "past_due",
  "paused",
  "canceled",
  "expired",
];

export interface Provisioning {
  desired: "on" | "off";
  desired_generation: number;
  applied_generation: number;
  state: "in_sync" | "pending" | "blocked";
  last_error: string | null;
}

export interface Subscription {
  id: string;
  customer_id: string;
  external_id: string | null;
  plan_code: string;
  status: SubscriptionStatus;
  anchor_at: string | null;
  period_start: string | null;
  period_end: string | null;
  grace_until: string | null;
  access_until: string | null;
  cancel_at_period_end: boolean;
  auto_renew: boolean;
  holds: unknown[];
  provisioning: Provisioning | null;
}

export interface Invoice {
  id: string;
  number: string;
  status: string;
  exception: string | null;
  amount: Money | null;
  paid: Money | null;
  method: string | null;
  confirmations: { seen: number; required: number } | null;
  checkout_url: string | null;
}

export interface TimelineEntry {
  ts: string;
  kind: "event" | "notice" | "provisioning" | "payment" | "operator";
  type: string;
  iteration_id: string | null;
  job: string | null;
  worker: string | null;
  data: Record<string, unknown>;
}

export interface Customer {
  id: string;
  external_id: string;
  email: string | null;
}
