/** The frames of `/ws` as this client reads and writes them, and what each close code asks of it. */

import type { ServerMessage } from "./messages.gen";

/** Opaque: given back to the server exactly as it came. */
export type Epoch = string;

export interface LiveEvent {
  channel: string;
  offset: number;
  epoch: Epoch;
  id: string;
  seq: number | null;
  type: string;
  ts: string;
  data: Record<string, unknown>;
}

export interface Position {
  offset: number;
  epoch: Epoch;
}

export interface RunAck {
  slot_id: string;
  due_at: string;
  duplicate: boolean;
}

export type ServerFrame =
  | { event: "hello"; pingIntervalMs: number | null; pongTimeoutMs: number | null }
  | { event: "authenticated" }
  | { event: "ack"; rid: string; result: Record<string, unknown>; duplicate: boolean }
  | {
      event: "error";
      rid: string | null;
      code: string;
      message: string;
      retryAfterMs: number | null;
    }
  | { event: "event"; value: LiveEvent }
  | { event: "recovered"; channel: string; complete: boolean; position: Position }
  | { event: "gap"; channel: string; to: number }
  | { event: "pong"; id: string | null }
  | { event: "auth_expiring" }
  | { event: "goodbye"; reconnectInMs: number | null; reason: string };

type Json = Record<string, unknown>;

const text = (value: unknown): string | null =>
  typeof value === "string" ? value : typeof value === "number" ? String(value) : null;
const count = (value: unknown): number | null =>
  typeof value === "number" && Number.isFinite(value) ? value : null;
const epoch = (value: unknown): Epoch => (typeof value === "string" ? value : "");
const record = (value: unknown): Json =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Json) : {};

export function position(value: unknown): Position {
  const raw = record(value);
  return { offset: count(raw.offset) ?? 0, epoch: epoch(raw.epoch) };
}

/** A server frame before its fields are checked: its names are the server's, its values may be anything. */
type Unchecked<Name extends ServerMessage["event"]> = {
  readonly [Field in keyof Extract<ServerMessage, { event: Name }>]?: unknown;
};

const readers: {
  [Name in ServerMessage["event"]]: (raw: Unchecked<Name>) => ServerFrame | null;
} = {
  hello: (raw) => ({
    event: "hello",
    pingIntervalMs: count(raw.ping_interval_ms),
    pongTimeoutMs: count(raw.pong_timeout_ms),
  }),
  authenticated: () => ({ event: "authenticated" }),
  ack: (raw) => {
    const rid = text(raw.rid);
    if (rid === null) return null;
    return { event: "ack", rid, result: record(raw.result), duplicate: raw.duplicate === true };
  },
  error: (raw) => ({
    event: "error",
    rid: text(raw.rid),
    code: text(raw.code) ?? "unknown",
    message: text(raw.message) ?? "",
    retryAfterMs: count(raw.retry_after_ms),
  }),
  event: (raw) => {
    const channel = text(raw.channel);
    const type = text(raw.type);
    const offset = count(raw.offset) ?? 0;
    if (channel === null || type === null) return null;
    return {
      event: "event",
      value: {
        channel,
        type,
        offset,
        epoch: epoch(raw.epoch),
        id: text(raw.id) ?? "",
        seq: count(raw.seq),
        ts: text(raw.ts) ?? "",
        data: record(raw.data),
      },
    };
  },
  recovered: (raw) => {
    const channel = text(raw.channel);
    if (channel === null) return null;
    return {
      event: "recovered",
      channel,
      complete: raw.complete === true,
      position: position(raw),
    };
  },
  gap: (raw) => {
    const channel = text(raw.channel);
    return channel === null ? null : { event: "gap", channel, to: count(raw.to) ?? 0 };
  },
  pong: (raw) => ({ event: "pong", id: text(raw.id) }),
  auth_expiring: () => ({ event: "auth_expiring" }),
  goodbye: (raw) => ({
    event: "goodbye",
    reconnectInMs: count(raw.reconnect_in_ms),
    reason: text(raw.reason) ?? "",
  }),
};

function isKnown(name: string): name is ServerMessage["event"] {
  return Object.hasOwn(readers, name);
}

/** The frame, or null for what this version does not know: unknown frames are ignored. */
export function readFrame(data: unknown): ServerFrame | null {
  if (typeof data !== "string") return null;
  let raw: Json;
  try {
    raw = record(JSON.parse(data));
  } catch {
    return null;
  }
  const name = text(raw.event);
  return name !== null && isKnown(name) ? readers[name](raw) : null;
}

export type AfterClose =
  | { next: "retry"; minimumMs: number; forget: boolean }
  | { next: "refresh" }
  | { next: "stop"; reason: "forbidden" | "protocol" };

const PROTOCOL_FAULTS: ReadonlySet<number> = new Set([1002, 1003, 1007, 1009, 4000]);

export function afterClose(code: number): AfterClose {
  if (code === 4001) return { next: "refresh" };
  if (code === 4003) return { next: "stop", reason: "forbidden" };
  if (PROTOCOL_FAULTS.has(code)) return { next: "stop", reason: "protocol" };
  return { next: "retry", minimumMs: code === 4029 ? 30_000 : 0, forget: code === 4010 };
}
