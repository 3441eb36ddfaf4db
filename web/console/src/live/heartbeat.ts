import type { Line } from "./requests";
import { Alarm } from "./timers";

const PING_INTERVAL_MS = 25_000;
const PONG_TIMEOUT_MS = 10_000;
const PROBE_MS = 3_000;

/**
 * Notices a line that has died in silence. A page cannot see protocol pings, so it sends its own,
 * and only when nothing else was heard; any frame counts as a sign of life.
 */
export class Heartbeat {
  private readonly idle: Alarm;
  private readonly silence: Alarm;
  private heardAt = 0;
  private sent: { id: string; at: number } | null = null;
  private next = 1;
  private intervalMs = PING_INTERVAL_MS;
  private timeoutMs = PONG_TIMEOUT_MS;

  constructor(private readonly line: Line) {
    this.idle = new Alarm(line.timers);
    this.silence = new Alarm(line.timers);
  }

  configure(intervalMs: number | null, timeoutMs: number | null): void {
    this.intervalMs = Math.min(intervalMs ?? PING_INTERVAL_MS, PING_INTERVAL_MS);
    this.timeoutMs = timeoutMs ?? PONG_TIMEOUT_MS;
  }

  start(): void {
    this.heardAt = this.line.timers.now();
    this.ping(this.timeoutMs);
    this.watch();
  }

  stop(): void {
    this.idle.clear();
    this.silence.clear();
    this.sent = null;
  }

  heard(): void {
    this.heardAt = this.line.timers.now();
    this.silence.clear();
  }

  ponged(id: string | null): void {
    if (this.sent === null || (id !== null && id !== this.sent.id)) return;
    this.line.measured(this.line.timers.now() - this.sent.at);
    this.sent = null;
  }

  /** Measures the round trip anew, unless an answer is being waited for already. */
  measure(): void {
    if (!this.silence.armed) this.ping(this.timeoutMs);
  }

  /** Asks at once, with less patience: the network has just changed. */
  probe(): void {
    this.ping(PROBE_MS);
  }

  private ping(patienceMs: number): void {
    const id = `p${this.next++}`;
    this.sent = { id, at: this.line.timers.now() };
    this.silence.set(patienceMs, () => this.line.abandon());
    this.line.send({ type: "ping", id });
  }

  private watch(): void {
    const quiet = this.line.timers.now() - this.heardAt;
    this.idle.set(Math.max(1, this.intervalMs - quiet), () => {
      const silentFor = this.line.timers.now() - this.heardAt;
      if (silentFor >= this.intervalMs) {
        this.ping(this.timeoutMs);
        this.heardAt = this.line.timers.now();
      }
      this.watch();
    });
  }
}
