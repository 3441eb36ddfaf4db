/** Where things lie on the timeline. Pure: times and pixels in, rectangles out. */
import type { Iteration, Job, Slot } from "@/http/model";
import type { Shown } from "../look";
import { shownOf } from "../look";

export const LANE_H = 30;
export const AXIS_H = 22;

export interface Scale {
  from: number;
  to: number;
  /** A little before `to`, so that what runs has room to grow. */
  now: number;
  width: number;
}

export interface Bar {
  iteration: Iteration;
  shown: Shown;
  x: number;
  width: number;
  /** Where the hard limit lies, when that is on the picture and the bar is wide enough to tell. */
  limitX: number | null;
}

export interface Mark {
  slot: Slot;
  x: number;
}

export const xOf = (time: number, scale: Scale): number =>
  ((time - scale.from) / (scale.to - scale.from)) * scale.width;

const LEAST: Record<Shown, number> = {
  ok: 2,
  running: 4,
  failed: 5,
  timed_out: 5,
  killed: 5,
  lost: 5,
  canceled: 5,
};
const LIMIT_SHOWN_FROM_PX = 14;

export function barsOf(items: readonly Iteration[], job: Job, scale: Scale): Bar[] {
  const bars: Bar[] = [];
  for (const iteration of items) {
    const start = Date.parse(iteration.started_at);
    const end = iteration.ended_at === null ? scale.now : Date.parse(iteration.ended_at);
    if (end < scale.from || start > scale.to) continue;
    const shown = shownOf(iteration);
    const x = Math.max(0, xOf(start, scale));
    const width = Math.max(LEAST[shown], xOf(end, scale) - x);
    bars.push({ iteration, shown, x, width, limitX: limitOf(start, job, scale, width) });
  }
  // Quiet ones first, so that trouble is painted over them and found first.
  return bars.sort((a, b) => weight(a.shown) - weight(b.shown) || a.x - b.x);
}

function limitOf(start: number, job: Job, scale: Scale, width: number): number | null {
  if (job.hard_s === null || width < LIMIT_SHOWN_FROM_PX) return null;
  const x = xOf(start + job.hard_s * 1_000, scale);
  return x <= scale.width ? x : null;
}

const weight = (shown: Shown): number => (shown === "ok" ? 0 : shown === "running" ? 1 : 2);

export function marksOf(slots: readonly Slot[], job: string, scale: Scale): Mark[] {
  return slots
    .filter((slot) => slot.job === job)
    .map((slot) => ({ slot, x: xOf(Date.parse(slot.due_at), scale) }))
    .filter((mark) => mark.x >= 0 && mark.x <= scale.width);
}

/** The bar under the pointer: trouble before quiet, near before far. */
export function barAt(bars: readonly Bar[], x: number, reach = 5): Bar | null {
  let best: Bar | null = null;
  let bestScore = Number.POSITIVE_INFINITY;
  for (const bar of bars) {
    const distance = Math.max(bar.x - x, x - (bar.x + bar.width), 0);
    if (distance > reach) continue;
    const score = distance - weight(bar.shown) * 2;
    if (score < bestScore) {
      best = bar;
      bestScore = score;
    }
  }
  return best;
}

/** The neighbour in time, for the arrow keys. */
export function step(
  items: readonly Iteration[],
  current: string | null,
  by: 1 | -1,
): string | null {
  const ordered = [...items].sort((a, b) => Date.parse(a.started_at) - Date.parse(b.started_at));
  if (ordered.length === 0) return null;
  const at = ordered.findIndex((one) => one.id === current);
  if (at === -1) return ordered.at(-1)?.id ?? null;
  return ordered[Math.min(ordered.length - 1, Math.max(0, at + by))]?.id ?? null;
}

const STEPS_MS = [60_000, 120_000, 300_000, 600_000, 900_000, 1_800_000, 3_600_000];
const TICK_PX = 84;

/** Round moments, about 84 pixels apart or more. */
export function ticksOf(scale: Scale): number[] {
  const span = scale.to - scale.from;
  const room = Math.max(1, Math.floor(scale.width / TICK_PX));
  const stepMs = STEPS_MS.find((one) => span / one <= room) ?? span;
  const ticks: number[] = [];
  for (let at = Math.ceil(scale.from / stepMs) * stepMs; at <= scale.to; at += stepMs)
    ticks.push(at);
  return ticks;
}
