import type { ClientMessage } from "./messages.gen";
import type { Timers } from "./timers";

const ANSWER_MS = 8_000;

export class CommandRefused extends Error {
  constructor(
    readonly code: string,
    message: string,
    readonly retryAfterMs: number | null,
  ) {
    super(message === "" ? code : message);
  }
}

export interface Answer {
  onAck: (result: Record<string, unknown>, duplicate: boolean) => void;
  onError: (error: CommandRefused) => void;
}

/** What the requests need of the machine that owns the socket. */
export interface Line {
  readonly timers: Timers;
  isOpen(): boolean;
  send(frame: ClientMessage): void;
  measured(ms: number): void;
  /** The peer did not answer: leave it and connect again. */
  abandon(): void;
}

interface Pending extends Answer {
  sentAt: number;
  timer: number;
}

/** Frames that carry a `rid`, each waiting for its one `ack` or `error`. */
export class Requests {
  private readonly pending = new Map<string, Pending>();
  private next = 1;

  constructor(private readonly line: Line) {}

  ask(frame: ClientMessage, answer: Answer): void {
    const rid = `r${this.next++}`;
    const { timers } = this.line;
    const timer = timers.set(() => {
      if (this.pending.delete(rid)) this.line.abandon();
    }, ANSWER_MS);
    this.pending.set(rid, { ...answer, sentAt: timers.now(), timer });
    this.line.send({ ...frame, rid });
  }

  acknowledged(rid: string, result: Record<string, unknown>, duplicate: boolean): void {
    this.take(rid)?.onAck(result, duplicate);
  }

  refused(rid: string, error: CommandRefused): void {
    this.take(rid)?.onError(error);
  }

  /** The connection is gone, and with it every answer. */
  forget(): void {
    for (const entry of this.pending.values()) this.line.timers.clear(entry.timer);
    this.pending.clear();
  }

  private take(rid: string): Pending | undefined {
    const entry = this.pending.get(rid);
    if (entry === undefined) return undefined;
    this.pending.delete(rid);
    this.line.timers.clear(entry.timer);
    this.line.measured(this.line.timers.now() - entry.sentAt);
    return entry;
  }
}
