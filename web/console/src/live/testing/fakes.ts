import type { SocketLike } from "../client";
import type { CommandStore } from "../commands";
import type { Timers } from "../timers";

interface Entry {
  id: number;
  at: number;
  callback: () => void;
}

/** A clock that moves only when told to. */
export class ManualTimers implements Timers {
  private time = 1_000;
  private next = 1;
  private entries: Entry[] = [];

  now(): number {
    return this.time;
  }

  set(callback: () => void, ms: number): number {
    const id = this.next++;
    this.entries.push({ id, at: this.time + ms, callback });
    return id;
  }

  clear(id: number): void {
    this.entries = this.entries.filter((entry) => entry.id !== id);
  }

  advance(ms: number): void {
    const end = this.time + ms;
    for (;;) {
      const due = this.entries.filter((entry) => entry.at <= end).sort((a, b) => a.at - b.at)[0];
      if (due === undefined) break;
      this.clear(due.id);
      this.time = Math.max(this.time, due.at);
      due.callback();
    }
    this.time = end;
  }
}

export class MemoryStore implements CommandStore {
  text: string | null = null;

  load(): string | null {
    return this.text;
  }

  save(text: string): void {
    this.text = text;
  }
}

type Frame = Record<string, unknown>;

interface Stored {
  offset: number;
  seq: number;
  type: string;
  data: Frame;
}

/** A socket whose other end is `FakeServer`. */
export class FakeSocket implements SocketLike {
  onopen: ((event: unknown) => unknown) | null = null;
  onmessage: ((event: { data: unknown }) => unknown) | null = null;
  onclose: ((event: { code: number; reason: string }) => unknown) | null = null;
  readonly sent: Frame[] = [];
  open = false;
  finished = false;

  constructor(private readonly server: FakeServer) {}

  send(data: string): void {
    if (!this.open) throw new Error("the socket is not open");
    const frame = JSON.parse(data) as Frame;
    this.sent.push(frame);
    this.server.hear(this, frame);
  }

  close(code = 1000): void {
    if (this.server.ignoresClose) return;
    this.end(code);
  }

  accept(): void {
    this.open = true;
    this.onopen?.(undefined);
    this.deliver({ event: "hello", ping_interval_ms: 25_000, pong_timeout_ms: 10_000 });
  }

  end(code: number): void {
    if (this.finished) return;
    this.finished = true;
    this.open = false;
    this.onclose?.({ code, reason: "" });
  }

  deliver(frame: Frame): void {
    this.onmessage?.({ data: JSON.stringify(frame) });
  }

  framesOf(type: string): Frame[] {
    return this.sent.filter((frame) => frame.type === type);
  }
}

/** The server's limit of messages: a bucket that fills, and the times at which it was empty. */
export class Flood {
  private tokens: number;
  private at: number;
  private violations: number[] = [];

  constructor(
    private readonly timers: Timers,
    private readonly burst = 40,
    private readonly perS = 20,
  ) {
    this.tokens = burst;
    this.at = timers.now();
  }

  /** Milliseconds until the next message is welcome; 0 takes one from the bucket. */
  over(): number {
    const now = this.timers.now();
    this.tokens = Math.min(this.burst, this.tokens + ((now - this.at) / 1_000) * this.perS);
    this.at = now;
    if (this.tokens < 1) return Math.ceil(((1 - this.tokens) / this.perS) * 1_000);
    this.tokens -= 1;
    return 0;
  }

  isTooMuch(): boolean {
    const now = this.timers.now();
    this.violations = [...this.violations.filter((at) => now - at < 10_000), now];
    return this.violations.length >= 3;
  }
}

/** Speaks the protocol of `/ws`: history of 100 per channel, resume, idempotent runs. */
export class FakeServer {
  readonly sockets: FakeSocket[] = [];
  readonly runs = new Map<string, string>();
  readonly history = new Map<string, Stored[]>();
  epoch = "e1";
  private lastSeq = 0;
  validToken = "token-1";
  silent = false;
  ignoresClose = false;
  refuseRunsWith: string | null = null;
  /** So many sockets are not even made. */
  refusals = 0;
  /** As the server's: so many messages at once, so many a second; the third too many ends it. */
  flood: Flood | null = null;

  readonly open = (): FakeSocket => {
    if (this.refusals > 0) {
      this.refusals -= 1;
      throw new Error("the browser refuses");
    }
    const socket = new FakeSocket(this);
    this.sockets.push(socket);
    return socket;
  };

  get last(): FakeSocket {
    const socket = this.sockets.at(-1);
    if (socket === undefined) throw new Error("nobody has connected");
    return socket;
  }

  /** Records an event and, unless told otherwise, sends it. */
  publish(channel: string, data: Frame = {}, options: { lose?: boolean } = {}): number {
    const stored = this.history.get(channel) ?? [];
    const offset = (stored.at(-1)?.offset ?? 0) + 1;
    stored.push({ offset, seq: ++this.lastSeq, type: "iteration.ended", data });
    this.history.set(channel, stored.slice(-100));
    if (options.lose !== true) this.emit(this.last, channel, offset);
    return offset;
  }

  emit(socket: FakeSocket, channel: string, offset: number): void {
    const entry = this.history.get(channel)?.find((one) => one.offset === offset);
    if (entry === undefined) throw new Error(`no ${channel} ${offset}`);
    socket.deliver({
      event: "event",
      channel,
      offset,
      epoch: this.epoch,
      id: `evt_${channel}_${offset}`,
      seq: entry.seq,
      type: entry.type,
      ts: "2026-01-01T00:00:00Z",
      data: entry.data,
    });
  }

  hear(socket: FakeSocket, frame: Frame): void {
    if (this.silent) return;
    const { rid } = frame;
    const wait = this.flood?.over() ?? 0;
    if (wait > 0) {
      if (this.flood?.isTooMuch() === true) socket.end(4029);
      else socket.deliver({ event: "error", rid, code: "throttled", retry_after_ms: wait });
      return;
    }
    if (frame.type === "auth") {
      if (frame.token === this.validToken) socket.deliver({ event: "authenticated" });
      else socket.end(4001);
    } else if (frame.type === "ping") {
      socket.deliver({ event: "pong", id: frame.id, timestamp: 0 });
    } else if (frame.type === "subscribe") {
      this.subscribe(socket, frame);
    } else if (frame.type === "run") {
      this.run(socket, frame, rid);
    }
  }

  private run(socket: FakeSocket, frame: Frame, rid: unknown): void {
    if (this.refuseRunsWith !== null) {
      const code = this.refuseRunsWith;
      socket.deliver({ event: "error", rid, code, message: "no", retry_after_ms: 700 });
      return;
    }
    const key = String(frame.key);
    const duplicate = this.runs.has(key);
    const slot = this.runs.get(key) ?? `slt_${this.runs.size + 1}`;
    this.runs.set(key, slot);
    socket.deliver({
      event: "ack",
      rid,
      result: { slot_id: slot, due_at: "2026-01-01T00:00:00Z" },
      ...(duplicate ? { duplicate } : {}),
    });
  }

  private subscribe(socket: FakeSocket, frame: Frame): void {
    const since = (frame.since ?? {}) as Record<string, { offset: number; epoch: string }>;
    const tops: Frame = {};
    for (const channel of frame.channels as string[]) {
      const stored = this.history.get(channel) ?? [];
      const top = stored.at(-1)?.offset ?? 0;
      tops[channel] = { offset: top, epoch: this.epoch };
      const place = since[channel];
      if (place === undefined) continue;
      const oldest = stored[0]?.offset ?? 1;
      const complete = place.epoch === this.epoch && place.offset >= oldest - 1;
      if (complete) {
        for (const entry of stored) {
          if (entry.offset > place.offset) this.emit(socket, channel, entry.offset);
        }
      }
      socket.deliver({ event: "recovered", channel, complete, offset: top, epoch: this.epoch });
    }
    socket.deliver({ event: "ack", rid: frame.rid, result: { channels: tops } });
  }
}
