import { fullJitter } from "./backoff";
import type { ChannelListener } from "./channel";
import { Channels } from "./channels";
import type { CommandStore } from "./commands";
import { Heartbeat } from "./heartbeat";
import type { ClientMessage } from "./messages.gen";
import { afterClose, type LiveEvent, type RunAck, readFrame, type ServerFrame } from "./protocol";
import { CommandRefused, type Line, Requests } from "./requests";
import { Runs } from "./runs";
import { Alarm, type Timers } from "./timers";

export type LiveState = "CONNECTING" | "AUTH" | "OPEN" | "CLOSING" | "CLOSED" | "RECONNECTING";
export type ClosedReason = "signed_out" | "expired" | "forbidden" | "protocol" | "hidden";

export interface SocketLike {
  // biome-ignore lint/suspicious/noExplicitAny: the handlers of a WebSocket name it as `this`
  onopen: ((this: any, event: any) => unknown) | null;
  // biome-ignore lint/suspicious/noExplicitAny: as above
  onmessage: ((this: any, event: any) => unknown) | null;
  // biome-ignore lint/suspicious/noExplicitAny: as above
  onclose: ((this: any, event: any) => unknown) | null;
  send(data: string): void;
  close(code?: number, reason?: string): void;
}

export interface Credentials {
  token(): string | null;
  refresh(): Promise<"ok" | "denied" | "unavailable">;
}

export interface LiveOptions {
  open: () => SocketLike;
  timers: Timers;
  random: () => number;
  credentials: Credentials;
  store: CommandStore;
  /** For the age of waiting commands alone: they outlive the page's own clock. */
  wallClock: () => number;
}

export interface LiveSnapshot {
  state: LiveState;
  /** Failed attempts in a row; 0 while all is well. */
  attempt: number;
  /** When the next attempt starts, on the machine's monotonic clock. */
  nextAttemptAt: number | null;
  rttMs: number | null;
  /** How long the newest connection took from the first byte to being signed in. */
  connectMs: number | null;
  reason: ClosedReason | null;
  /** Commands that have not been answered yet. */
  waiting: number;
}

/** After so many quick attempts the line counts as offline and is tried at a slow pace. */
export const QUICK_ATTEMPTS = 5;
const SLOW_MS = 5_000;
const HANDSHAKE_MS = 10_000;
const HEALTHY_MS = 30_000;
const CLOSING_MS = 1_000;

/**
 * The one socket of a tab, as a state machine whose transitions are synchronous.
 *
 * However often `connect` is called, at most one socket is connecting or open. A listener sees
 * each message of its channel once and in order; where that cannot be kept it is told to read
 * again over HTTP (`onResync`).
 */
export class LiveClient implements Line {
  readonly timers: Timers;
  private state: LiveSnapshot;
  private readonly watchers = new Set<() => void>();
  private readonly requests: Requests;
  private readonly channels: Channels;
  private readonly runs: Runs;
  private readonly heartbeat: Heartbeat;
  private readonly deadline: Alarm;
  private readonly health: Alarm;
  private socket: SocketLike | null = null;
  private goodbyeMs: number | null = null;
  private refreshed = false;
  /** The server named the moment of the return. */
  private bidden = false;
  private reopen = false;
  private askedAt = 0;

  constructor(private readonly options: LiveOptions) {
    this.timers = options.timers;
    this.requests = new Requests(this);
    this.channels = new Channels(this, this.requests);
    this.heartbeat = new Heartbeat(this);
    this.deadline = new Alarm(options.timers);
    this.health = new Alarm(options.timers);
    const changed = () => this.change({ waiting: this.runs.waiting });
    this.runs = new Runs(this, this.requests, options.store, options.wallClock, changed);
    this.state = {
      state: "CLOSED",
      attempt: 0,
      nextAttemptAt: null,
      rttMs: null,
      connectMs: null,
      reason: null,
      waiting: this.runs.waiting,
    };
  }

  readonly snapshot = (): LiveSnapshot => this.state;

  readonly watch = (watcher: () => void): (() => void) => {
    this.watchers.add(watcher);
    return () => this.watchers.delete(watcher);
  };

  connect(): void {
    const { state, nextAttemptAt } = this.state;
    if (state === "CONNECTING" || state === "AUTH" || state === "OPEN") return;
    // A new token is being asked for: the answer decides what comes next.
    if (state === "RECONNECTING" && nextAttemptAt === null) return;
    if (state === "CLOSING") {
      this.reopen = true;
      return;
    }
    this.deadline.clear();
    this.openSocket();
  }

  /**
   * The page or its network is back: what waits is tried at once, what is open is asked whether it
   * is alive. Where the server said when, or no, that stands; only a person may ask again.
   */
  wake(): void {
    const { state, reason } = this.state;
    if (state === "OPEN") this.probe();
    else if (state === "RECONNECTING" ? !this.bidden : reason === "hidden") this.connect();
  }

  /** Ends the connection and every wait for one. `signed_out` also forgets what was received. */
  disconnect(reason: ClosedReason): void {
    if (reason === "hidden" && this.state.state === "CLOSED") return;
    this.reopen = false;
    if (reason === "signed_out") {
      this.channels.forgetAll();
      this.runs.discard("signed out");
      this.refreshed = false;
    }
    const socket = this.socket;
    if (socket === null) {
      this.closed(reason);
      return;
    }
    this.stopClocks();
    this.requests.forget();
    this.change({ state: "CLOSING", reason, nextAttemptAt: null, rttMs: null });
    this.deadline.set(CLOSING_MS, () => this.closed(reason));
    socket.close(1000, "bye");
  }

  /** Asks at once whether the line is alive; a silent one is replaced after three seconds. */
  probe(): void {
    if (this.isOpen()) this.heartbeat.probe();
  }

  /** The session has a newer token: an open connection is told, so that it is not cut. */
  tokenChanged(): void {
    const token = this.options.credentials.token();
    if (this.isOpen() && token !== null) this.send({ type: "auth-refresh", token });
  }

  subscribe(channel: string, listener: ChannelListener): () => void {
    return this.channels.subscribe(channel, listener);
  }

  recent(channel: string): readonly LiveEvent[] {
    return this.channels.recent(channel);
  }

  /** Runs a job; without a connection it waits for one. The key makes a repeat harmless. */
  run(job: string, scope: string, key: string): Promise<RunAck> {
    return this.runs.run(job, scope, key);
  }

  withdraw(key: string): void {
    this.runs.withdraw(key);
  }

  discardWaiting(): void {
    this.runs.discard("discarded");
  }

  // What the parts need of the line they speak on.

  isOpen(): boolean {
    return this.state.state === "OPEN";
  }

  send(frame: ClientMessage): void {
    this.socket?.send(JSON.stringify(frame));
  }

  measured(ms: number): void {
    this.change({ rttMs: Math.max(0, Math.round(ms)) });
  }

  abandon(): void {
    const socket = this.socket;
    this.dropSocket();
    socket?.close(4008, "silent");
    this.retryLater(0);
  }

  // Transitions.

  private openSocket(): void {
    this.change({ state: "CONNECTING", nextAttemptAt: null, reason: null });
    this.goodbyeMs = null;
    this.askedAt = this.timers.now();
    let socket: SocketLike;
    try {
      socket = this.options.open();
    } catch {
      // A browser that will not make the socket at all is as good as a server that is away.
      this.retryLater(0);
      return;
    }
    this.socket = socket;
    // Handlers answer only while their socket is the current one: a late close of an old one is noise.
    socket.onopen = () => this.socket === socket && this.opened();
    socket.onmessage = (event: { data: unknown }) =>
      this.socket === socket && this.heard(event.data);
    socket.onclose = (event: { code: number }) => this.socket === socket && this.ended(event.code);
    this.deadline.set(HANDSHAKE_MS, () => this.abandon());
  }

  private opened(): void {
    if (this.state.state !== "CONNECTING") return;
    this.change({ state: "AUTH" });
    const token = this.options.credentials.token();
    if (token !== null) this.send({ type: "auth", token });
  }

  private authenticated(): void {
    // The cookie and the token may both be answered.
    if (this.state.state !== "AUTH") return;
    this.deadline.clear();
    const connectMs = Math.max(0, Math.round(this.timers.now() - this.askedAt));
    this.change({ state: "OPEN", nextAttemptAt: null, reason: null, connectMs });
    this.health.set(HEALTHY_MS, () => {
      this.refreshed = false;
      this.change({ attempt: 0 });
      // The first measure was taken while the page was still busy loading.
      this.heartbeat.measure();
    });
    this.channels.resume();
    this.heartbeat.start();
    this.runs.flush();
  }

  private ended(code: number): void {
    const { state, reason } = this.state;
    if (state === "CLOSING") {
      this.closed(reason ?? "signed_out");
      return;
    }
    this.dropSocket();
    const after = afterClose(code);
    if (after.next === "stop") this.stopped(after.reason);
    else if (after.next === "refresh") this.refreshThenReturn();
    else {
      if (after.forget) this.channels.forgetPositions();
      this.retryLater(after.minimumMs);
    }
  }

  private closed(reason: ClosedReason): void {
    this.dropSocket();
    this.change({ state: "CLOSED", reason, attempt: 0, nextAttemptAt: null, rttMs: null });
    if (!this.reopen) return;
    this.reopen = false;
    this.connect();
  }

  private stopped(reason: ClosedReason): void {
    this.change({ state: "CLOSED", reason, nextAttemptAt: null, rttMs: null });
  }

  private retryLater(minimumMs: number): void {
    const failures = this.state.attempt;
    const slowest = failures >= QUICK_ATTEMPTS ? SLOW_MS : 0;
    const jitter = fullJitter(failures, this.options.random);
    const wait = this.goodbyeMs ?? Math.max(minimumMs, slowest, jitter);
    this.bidden = this.goodbyeMs !== null || minimumMs > 0;
    this.goodbyeMs = null;
    this.change({
      state: "RECONNECTING",
      attempt: failures + 1,
      nextAttemptAt: this.timers.now() + wait,
      rttMs: null,
      reason: null,
    });
    this.deadline.set(wait, () => this.connect());
  }

  private refreshThenReturn(): void {
    if (this.refreshed) {
      this.stopped("expired");
      return;
    }
    this.refreshed = true;
    this.bidden = false;
    this.change({ state: "RECONNECTING", nextAttemptAt: null, rttMs: null, reason: null });
    void this.options.credentials.refresh().then((answer) => {
      if (this.state.state !== "RECONNECTING" || this.socket !== null) return;
      if (answer === "ok") this.openSocket();
      else if (answer === "denied") this.stopped("expired");
      else {
        this.refreshed = false;
        this.retryLater(0);
      }
    });
  }

  private heard(data: unknown): void {
    // Who has said goodbye listens to nothing more.
    if (this.state.state === "CLOSING") return;
    this.heartbeat.heard();
    const frame = readFrame(data);
    if (frame !== null) this.handle(frame);
  }

  private handle(frame: ServerFrame): void {
    switch (frame.event) {
      case "hello":
        this.heartbeat.configure(frame.pingIntervalMs, frame.pongTimeoutMs);
        return;
      case "authenticated":
        this.authenticated();
        return;
      case "auth_expiring":
        // A refresh that succeeds reaches the socket through `tokenChanged`.
        void this.options.credentials.refresh();
        return;
      case "goodbye":
        this.goodbyeMs = frame.reconnectInMs;
        return;
      case "pong":
        this.heartbeat.ponged(frame.id);
        return;
      case "ack":
        this.requests.acknowledged(frame.rid, frame.result, frame.duplicate);
        return;
      case "error":
        this.refused(frame);
        return;
      case "event":
        this.channels.received(frame.value);
        return;
      case "recovered":
        this.channels.recovered(frame.channel, frame.complete, frame.position);
        return;
      case "gap":
        this.channels.lost(frame.channel, frame.to);
        return;
    }
  }

  private refused(frame: Extract<ServerFrame, { event: "error" }>): void {
    if (frame.rid === null) return;
    const error = new CommandRefused(frame.code, frame.message, frame.retryAfterMs);
    this.requests.refused(frame.rid, error);
  }

  private change(change: Partial<LiveSnapshot>): void {
    this.state = { ...this.state, ...change };
    for (const watcher of [...this.watchers]) watcher();
  }

  private dropSocket(): void {
    this.socket = null;
    this.stopClocks();
    this.requests.forget();
    this.runs.connectionLost();
  }

  private stopClocks(): void {
    this.deadline.clear();
    this.health.clear();
    this.heartbeat.stop();
  }
}
