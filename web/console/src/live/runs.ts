import { CommandQueue, type CommandStore, type RunCommand } from "./commands";
import type { RunAck } from "./protocol";
import type { CommandRefused, Line, Requests } from "./requests";
import { Alarm } from "./timers";

interface Waiter {
  resolve: (ack: RunAck) => void;
  reject: (error: Error) => void;
}

/** Between two commands: half of what the server takes from one connection. */
const SPACING_MS = 100;
const LONGEST_SPACING_MS = 5_000;
const UNTOLD_MS = 2_000;

/**
 * Run-now commands: sent when there is a connection, kept (100, a day) while there is none.
 *
 * One is on its way at a time, oldest first, and no faster than the server likes: a hundred that
 * waited must not look like a flood, for which it would cut the connection.
 */
export class Runs {
  private readonly queue: CommandQueue;
  private readonly waiters = new Map<string, Waiter[]>();
  private readonly pause: Alarm;
  /** The key of the command on its way. */
  private sent: string | null = null;
  private spacingMs = SPACING_MS;
  private notBefore = 0;

  constructor(
    private readonly line: Line,
    private readonly requests: Requests,
    store: CommandStore,
    private readonly wallClock: () => number,
    private readonly changed: () => void,
  ) {
    this.queue = new CommandQueue(store, wallClock);
    this.pause = new Alarm(line.timers);
  }

  get waiting(): number {
    return this.queue.size;
  }

  /** Each who asks with the same key gets the one answer. */
  run(job: string, scope: string, key: string): Promise<RunAck> {
    const command: RunCommand = { key, job, scope, queuedAt: this.wallClock() };
    return new Promise<RunAck>((resolve, reject) => {
      try {
        this.queue.add(command);
      } catch (error) {
        reject(error as Error);
        return;
      }
      this.waiters.set(key, [...(this.waiters.get(key) ?? []), { resolve, reject }]);
      this.changed();
      this.flush();
    });
  }

  /** Takes back a command that has not been answered: it will be sent another way. */
  withdraw(key: string): void {
    this.queue.remove(key);
    this.waiters.delete(key);
    if (this.sent === key) this.sent = null;
    this.changed();
    this.flush();
  }

  discard(why: string): void {
    const { ready, expired } = this.queue.due();
    this.queue.clear();
    this.sent = null;
    this.pause.clear();
    for (const command of [...ready, ...expired]) {
      this.answer(command.key, (waiter) => waiter.reject(new Error(why)));
    }
    this.changed();
  }

  /** The answer of this connection will not come; the command goes again with the same key. */
  connectionLost(): void {
    this.sent = null;
    this.pause.clear();
    this.spacingMs = SPACING_MS;
    this.notBefore = 0;
  }

  /** Sends the next one if it is time, else when it is. */
  flush(): void {
    const { ready, expired } = this.queue.due();
    for (const command of expired) {
      const late = new Error("It waited longer than 24 hours for a connection.");
      this.answer(command.key, (waiter) => waiter.reject(late));
    }
    if (expired.length > 0) this.changed();
    const [oldest] = ready;
    if (oldest === undefined || this.sent !== null || !this.line.isOpen()) return;
    const wait = this.notBefore - this.line.timers.now();
    if (wait > 0) this.pause.set(wait, () => this.flush());
    else this.send(oldest);
  }

  private send(command: RunCommand): void {
    const { key, job, scope } = command;
    this.sent = key;
    this.notBefore = this.line.timers.now() + this.spacingMs;
    this.requests.ask(
      { type: "run", job, scope, key },
      {
        onAck: (result, duplicate) =>
          this.settle(key, (waiter) =>
            waiter.resolve({
              slot_id: String(result.slot_id ?? ""),
              due_at: String(result.due_at ?? ""),
              duplicate,
            }),
          ),
        onError: (error) => {
          if (error.code === "throttled" || error.code === "unavailable") this.later(key, error);
          else this.settle(key, (waiter) => waiter.reject(error));
        },
      },
    );
  }

  /** The server asks for patience: this one and all behind it wait, and then go more slowly. */
  private later(key: string, error: CommandRefused): void {
    if (this.sent === key) this.sent = null;
    const wait = error.retryAfterMs ?? UNTOLD_MS;
    this.spacingMs = Math.min(LONGEST_SPACING_MS, Math.max(wait, this.spacingMs * 2));
    this.notBefore = Math.max(this.notBefore, this.line.timers.now() + wait);
    this.flush();
  }

  private settle(key: string, tell: (waiter: Waiter) => void): void {
    this.answer(key, tell);
    this.withdraw(key);
  }

  private answer(key: string, tell: (waiter: Waiter) => void): void {
    const waiters = this.waiters.get(key) ?? [];
    this.waiters.delete(key);
    for (const waiter of waiters) tell(waiter);
  }
}
