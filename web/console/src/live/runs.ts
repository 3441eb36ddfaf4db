import { CommandQueue, type CommandStore, type RunCommand } from "./commands";
import type { RunAck } from "./protocol";
import type { Line, Requests } from "./requests";

interface Waiter {
  resolve: (ack: RunAck) => void;
  reject: (error: Error) => void;
}

/** Run-now commands: sent when there is a connection, kept (100, a day) while there is none. */
export class Runs {
  private readonly queue: CommandQueue;
  private readonly waiters = new Map<string, Waiter>();
  private readonly inFlight = new Set<string>();

  constructor(
    private readonly line: Line,
    private readonly requests: Requests,
    store: CommandStore,
    private readonly wallClock: () => number,
    private readonly changed: () => void,
  ) {
    this.queue = new CommandQueue(store, wallClock);
  }

  get waiting(): number {
    return this.queue.size;
  }

  run(job: string, scope: string, key: string): Promise<RunAck> {
    const command: RunCommand = { key, job, scope, queuedAt: this.wallClock() };
    return new Promise<RunAck>((resolve, reject) => {
      try {
        this.queue.add(command);
      } catch (error) {
        reject(error as Error);
        return;
      }
      this.waiters.set(key, { resolve, reject });
      this.changed();
      this.flush();
    });
  }

  /** Takes back a command that has not been answered: it will be sent another way. */
  withdraw(key: string): void {
    this.queue.remove(key);
    this.waiters.delete(key);
    this.inFlight.delete(key);
    this.changed();
  }

  discard(why: string): void {
    for (const command of this.queue.due().ready) {
      this.settle(command.key, (waiter) => waiter.reject(new Error(why)));
    }
  }

  /** The answers of this connection will not come; the commands go again with the same key. */
  connectionLost(): void {
    this.inFlight.clear();
  }

  flush(): void {
    const { ready, expired } = this.queue.due();
    for (const command of expired) {
      this.settle(command.key, (waiter) =>
        waiter.reject(new Error("It waited longer than 24 hours for a connection.")),
      );
    }
    if (!this.line.isOpen()) return;
    for (const command of ready) if (!this.inFlight.has(command.key)) this.send(command);
  }

  private send(command: RunCommand): void {
    const { key, job, scope } = command;
    this.inFlight.add(key);
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
          if (error.code !== "throttled" && error.code !== "unavailable") {
            this.settle(key, (waiter) => waiter.reject(error));
            return;
          }
          this.line.timers.set(() => {
            this.inFlight.delete(key);
            this.flush();
          }, error.retryAfterMs ?? 2_000);
        },
      },
    );
  }

  private settle(key: string, tell: (waiter: Waiter) => void): void {
    const waiter = this.waiters.get(key);
    this.withdraw(key);
    if (waiter !== undefined) tell(waiter);
  }
}
