/** Commands that wait for a connection. Each has a key, so sending one twice runs it once. */

export interface RunCommand {
  key: string;
  job: string;
  scope: string;
  queuedAt: number;
}

export interface CommandStore {
  load(): string | null;
  save(text: string): void;
}

export const QUEUE_LIMIT = 100;
export const QUEUE_TTL_MS = 24 * 3600 * 1000;

export class QueueFull extends Error {
  constructor() {
    super(`${QUEUE_LIMIT} commands are waiting for the connection already`);
  }
}

function isCommand(value: unknown): value is RunCommand {
  if (typeof value !== "object" || value === null) return false;
  const raw = value as Record<string, unknown>;
  return (
    typeof raw.key === "string" &&
    typeof raw.job === "string" &&
    typeof raw.scope === "string" &&
    typeof raw.queuedAt === "number"
  );
}

export class CommandQueue {
  private waiting: RunCommand[];

  constructor(
    private readonly store: CommandStore,
    /** Wall clock: the queue outlives a reload of the page. */
    private readonly wallClock: () => number,
  ) {
    this.waiting = this.restore();
  }

  get size(): number {
    return this.waiting.length;
  }

  add(command: RunCommand): void {
    if (this.waiting.some((other) => other.key === command.key)) return;
    if (this.waiting.length >= QUEUE_LIMIT) throw new QueueFull();
    this.waiting.push(command);
    this.persist();
  }

  remove(key: string): void {
    this.waiting = this.waiting.filter((command) => command.key !== key);
    this.persist();
  }

  /** Those still worth sending, oldest first; the rest are dropped and returned as `expired`. */
  due(): { ready: RunCommand[]; expired: RunCommand[] } {
    const oldest = this.wallClock() - QUEUE_TTL_MS;
    const expired = this.waiting.filter((command) => command.queuedAt < oldest);
    if (expired.length > 0) {
      this.waiting = this.waiting.filter((command) => command.queuedAt >= oldest);
      this.persist();
    }
    return { ready: [...this.waiting], expired };
  }

  clear(): void {
    this.waiting = [];
    this.persist();
  }

  private persist(): void {
    this.store.save(JSON.stringify(this.waiting));
  }

  private restore(): RunCommand[] {
    const text = this.store.load();
    if (text === null) return [];
    try {
      const parsed: unknown = JSON.parse(text);
      return Array.isArray(parsed) ? parsed.filter(isCommand).slice(0, QUEUE_LIMIT) : [];
    } catch {
      // A damaged store holds nothing that could be sent safely.
      return [];
    }
  }
}
