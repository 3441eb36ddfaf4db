/** The clock the machine runs on: monotonic, and replaced in tests. */
export interface Timers {
  now(): number;
  set(callback: () => void, ms: number): number;
  clear(id: number): void;
}

export const browserTimers: Timers = {
  now: () => performance.now(),
  set: (callback, ms) => window.setTimeout(callback, ms),
  clear: (id) => window.clearTimeout(id),
};

/** One pending callback at most: setting it again replaces it. */
export class Alarm {
  private id: number | null = null;

  constructor(private readonly timers: Timers) {}

  get armed(): boolean {
    return this.id !== null;
  }

  set(ms: number, callback: () => void): void {
    this.clear();
    this.id = this.timers.set(() => {
      this.id = null;
      callback();
    }, ms);
  }

  clear(): void {
    if (this.id !== null) this.timers.clear(this.id);
    this.id = null;
  }
}
