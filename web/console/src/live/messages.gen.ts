// Written by docs/generate.py from web/live/messages.py; change that instead.

/** Who a connection belongs to; `email` is null for an API key. */
export interface User {
  id: string;
  email: string | null;
  name: string;
  role: string;
}

/** A place in a channel. `epoch` is opaque; after a new one old offsets mean nothing. */
export interface Position {
  offset: number;
  epoch: string;
}

/** One field that is not valid. */
export interface FieldError {
  field: string;
  code: string;
  message: string;
}

/** The first frame: what this server expects and offers; `history` is what a broad channel keeps. */
export interface ServerHello {
  event: "hello";
  connection: string;
  protocol: "tenure.v1";
  ping_interval_ms: number;
  pong_timeout_ms: number;
  max_message: number;
  history: number;
}

/** The connection belongs to somebody. `expires_at` is null for what does not expire. */
export interface ServerAuthenticated {
  event: "authenticated";
  user: User;
  expires_at: string | null;
}

/** The one answer to a frame with this `rid` that was carried out; `duplicate` when it had been before. */
export interface ServerAck {
  event: "ack";
  rid?: string | number;
  result: Record<string, unknown>;
  duplicate?: true;
}

/** The one answer to a frame that was refused; nothing has changed. */
export interface ServerError {
  event: "error";
  rid?: string | number;
  code: "malformed" | "unknown_type" | "invalid" | "unauthenticated" | "forbidden" | "not_found" | "too_many_channels" | "throttled" | "idempotency_conflict" | "unavailable";
  message: string;
  errors?: FieldError[];
  retry_after_ms?: number;
}

/** Something happened. `offset` follows the channel's last one; 0 is true only now, without history. */
export interface ServerEvent {
  event: "event";
  channel: string;
  offset: number;
  epoch: string;
  id: string;
  seq: number;
  type: string;
  ts: string;
  data: Record<string, unknown>;
}

/** What lay behind a `since` has been sent; without `complete` some of it is gone: refetch over HTTP. */
export interface ServerRecovered {
  event: "recovered";
  channel: string;
  complete: boolean;
  offset: number;
  epoch: string;
}

/** The events of this channel between these offsets, both included, could not be delivered. */
export interface ServerGap {
  event: "gap";
  channel: string;
  from: number;
  to: number;
}

/** The answer to `ping`; `timestamp` is unix seconds. */
export interface ServerPong {
  event: "pong";
  timestamp: number;
  id?: string | number;
}

/** The token ends soon: send `auth-refresh` with a new one. */
export interface ServerAuthExpiring {
  event: "auth_expiring";
  expires_in_ms: number;
}

/** The server closes; come back after this time and resume. */
export interface ServerGoodbye {
  event: "goodbye";
  reason: string;
  reconnect_in_ms: number;
}

export type ServerMessage =
  | ServerHello
  | ServerAuthenticated
  | ServerAck
  | ServerError
  | ServerEvent
  | ServerRecovered
  | ServerGap
  | ServerPong
  | ServerAuthExpiring
  | ServerGoodbye;

/** Who we are: an access token or API key, or a ticket of `POST /ws-ticket`. */
export interface ClientAuth {
  type: "auth";
  token?: string;
  ticket?: string;
  rid?: string | number;
}

/** A new token of the same user, in place. */
export interface ClientAuthRefresh {
  type: "auth-refresh";
  token: string;
  rid?: string | number;
}

/** Listen to these channels; behind a `since` nothing is missed. */
export interface ClientSubscribe {
  type: "subscribe";
  channels: string[];
  since?: Record<string, Position>;
  rid?: string | number;
}

/** Listen to these channels no more. */
export interface ClientUnsubscribe {
  type: "unsubscribe";
  channels: string[];
  rid?: string | number;
}

/** Run a job now (operator). The same `key` again gives the same slot. */
export interface ClientRun {
  type: "run";
  job: string;
  scope?: string;
  key: string;
  rid?: string | number;
}

/** Pause, resume or edit a schedule (operator), with the fields of the API's bodies. */
export interface ClientSchedule {
  type: "schedule";
  job: string;
  action: "pause" | "resume" | "edit";
  key?: string;
  until?: string | null;
  reason?: string;
  every_s?: number | null;
  cron?: string | null;
  timezone?: string;
  enabled?: boolean;
  rid?: string | number;
}

/** Ask for a `pong`. */
export interface ClientPing {
  type: "ping";
  id?: string | number;
  rid?: string | number;
}

/** A sign of life; nothing answers it, unless it has a `rid`. */
export interface ClientPong {
  type: "pong";
  rid?: string | number;
}

export type ClientMessage =
  | ClientAuth
  | ClientAuthRefresh
  | ClientSubscribe
  | ClientUnsubscribe
  | ClientRun
  | ClientSchedule
  | ClientPing
  | ClientPong;
