import type { QueueRow } from "@/http/model";

export interface Sample {
  at: number;
  depth: number;
}

const KEPT_MS = 15 * 60_000;

/** The depth of each queue over the last quarter of an hour, as this tab has seen it. */
export class Samples {
  private series: ReadonlyMap<string, readonly Sample[]> = new Map();
  private latest: ReadonlyMap<string, QueueRow> = new Map();
  private readonly watchers = new Set<() => void>();

  readonly watch = (watcher: () => void): (() => void) => {
    this.watchers.add(watcher);
    return () => this.watchers.delete(watcher);
  };

  readonly rows = (): ReadonlyMap<string, QueueRow> => this.latest;

  readonly history = (): ReadonlyMap<string, readonly Sample[]> => this.series;

  add(row: QueueRow, at: number): void {
    const known = this.series.get(row.queue) ?? [];
    const series = [...known.filter((one) => one.at > at - KEPT_MS), { at, depth: row.depth }];
    this.series = new Map(this.series).set(row.queue, series);
    this.latest = new Map(this.latest).set(row.queue, row);
    for (const watcher of [...this.watchers]) watcher();
  }
}

export const samples = new Samples();
