/** Draws the lanes. Outcomes differ by colour, pattern and height, so none of them is told by colour alone. */
import { shortTime } from "@/ui/time";
import type { Shown } from "../look";
import { AXIS_H, type Bar, LANE_H, type Mark, type Scale, ticksOf, xOf } from "./geometry";

export interface Palette {
  bars: Record<Shown, string>;
  limit: string;
  line: string;
  text: string;
  surface: string;
  ink: string;
  warn: string;
}

export interface PaintedLane {
  bars: readonly Bar[];
  marks: readonly Mark[];
  /** Left of here the older iterations were not loaded. */
  cutX: number | null;
}

export interface Picture {
  scale: Scale;
  lanes: readonly PaintedLane[];
  selected: string | null;
  hovered: string | null;
}

export function readPalette(element: Element): Palette {
  const style = getComputedStyle(element);
  const get = (name: string) => style.getPropertyValue(name).trim();
  return {
    bars: {
      ok: get("--bar-ok"),
      failed: get("--bar-failed"),
      timed_out: get("--bar-timed_out"),
      killed: get("--bar-killed"),
      lost: get("--bar-lost"),
      canceled: get("--bar-canceled"),
      running: get("--bar-running"),
    },
    limit: get("--bar-limit"),
    line: get("--line"),
    text: get("--text-3"),
    surface: get("--surface"),
    ink: get("--text"),
    warn: get("--warn"),
  };
}

export function paint(context: CanvasRenderingContext2D, picture: Picture, palette: Palette): void {
  const { scale, lanes } = picture;
  const height = lanes.length * LANE_H;
  context.clearRect(0, 0, scale.width, height + AXIS_H);
  paintGrid(context, scale, height, palette);
  lanes.forEach((lane, index) => {
    const top = index * LANE_H;
    if (lane.cutX !== null) paintCut(context, lane.cutX, top, palette);
    for (const bar of lane.bars) paintBar(context, bar, top, palette);
    for (const mark of lane.marks) paintMark(context, mark, top, palette);
    for (const bar of lane.bars) {
      const { id } = bar.iteration;
      if (id === picture.selected || id === picture.hovered) paintRing(context, bar, top, palette);
    }
  });
  paintNow(context, xOf(scale.now, scale), height, palette);
}

function paintGrid(
  context: CanvasRenderingContext2D,
  scale: Scale,
  height: number,
  palette: Palette,
): void {
  context.font = '11px "Inter Variable", system-ui, sans-serif';
  context.textBaseline = "middle";
  context.lineWidth = 1;
  context.strokeStyle = palette.line;
  for (let y = LANE_H; y <= height; y += LANE_H) line(context, 0, y - 0.5, scale.width, y - 0.5);
  for (const tick of ticksOf(scale)) {
    const x = Math.round(xOf(tick, scale)) + 0.5;
    context.globalAlpha = 0.7;
    line(context, x, 0, x, height);
    context.globalAlpha = 1;
    context.fillStyle = palette.text;
    const label = shortTime(tick);
    const width = context.measureText(label).width;
    const left = Math.min(scale.width - width, Math.max(4, x - width / 2));
    context.fillText(label, left, height + AXIS_H / 2 + 1);
  }
}

function line(
  context: CanvasRenderingContext2D,
  x0: number,
  y0: number,
  x1: number,
  y1: number,
): void {
  context.beginPath();
  context.moveTo(x0, y0);
  context.lineTo(x1, y1);
  context.stroke();
}

function paintCut(
  context: CanvasRenderingContext2D,
  x: number,
  top: number,
  palette: Palette,
): void {
  context.save();
  context.beginPath();
  context.rect(0, top + 4, Math.max(0, x - 3), LANE_H - 9);
  context.clip();
  context.strokeStyle = palette.line;
  context.lineWidth = 1;
  for (let at = -LANE_H; at < x; at += 7) line(context, at, top + LANE_H, at + LANE_H, top);
  context.restore();
}

const bounds = (shown: Shown): [inset: number, height: number] =>
  shown === "ok" ? [9, LANE_H - 19] : [5, LANE_H - 11];

function paintBar(
  context: CanvasRenderingContext2D,
  bar: Bar,
  top: number,
  palette: Palette,
): void {
  const colour = palette.bars[bar.shown];
  const [inset, height] = bounds(bar.shown);
  const y = top + inset;
  context.save();
  if (bar.shown === "running") paintRunning(context, bar, y, height, colour);
  else if (bar.shown === "canceled") {
    context.strokeStyle = colour;
    context.lineWidth = 1.5;
    context.strokeRect(bar.x + 0.75, y + 0.75, Math.max(2, bar.width - 1.5), height - 1.5);
  } else {
    context.beginPath();
    context.roundRect(bar.x, y, bar.width, height, Math.min(2, bar.width / 2));
    context.fillStyle = colour;
    context.fill();
    context.clip();
    paintPattern(context, bar, y, height, palette.surface);
  }
  context.restore();
  if (bar.limitX !== null) {
    context.strokeStyle = palette.limit;
    context.lineWidth = 1.5;
    line(context, bar.limitX, top + 3, bar.limitX, top + LANE_H - 5);
  }
}

/** No right edge: it has not ended. */
function paintRunning(
  context: CanvasRenderingContext2D,
  bar: Bar,
  y: number,
  height: number,
  colour: string,
): void {
  const fade = context.createLinearGradient(bar.x, 0, bar.x + bar.width, 0);
  fade.addColorStop(0, colour);
  fade.addColorStop(1, "transparent");
  context.globalAlpha = 0.45;
  context.fillStyle = fade;
  context.fillRect(bar.x, y, bar.width, height);
  context.globalAlpha = 1;
  context.strokeStyle = colour;
  context.lineWidth = 1.5;
  context.beginPath();
  context.moveTo(bar.x + bar.width, y + 0.75);
  context.lineTo(bar.x + 0.75, y + 0.75);
  context.lineTo(bar.x + 0.75, y + height - 0.75);
  context.lineTo(bar.x + bar.width, y + height - 0.75);
  context.stroke();
}

function paintPattern(
  context: CanvasRenderingContext2D,
  bar: Bar,
  y: number,
  height: number,
  colour: string,
): void {
  if (bar.shown === "ok") return;
  context.strokeStyle = colour;
  context.globalAlpha = 0.6;
  context.lineWidth = 1.25;
  const right = bar.x + bar.width;
  if (bar.shown === "timed_out") {
    for (let x = bar.x + 3; x < right; x += 4) line(context, x, y, x, y + height);
    return;
  }
  if (bar.shown === "lost") {
    for (let at = y + 3; at < y + height; at += 4) line(context, bar.x, at, right, at);
    return;
  }
  for (let x = bar.x - height; x < right; x += 5) line(context, x, y + height, x + height, y);
  if (bar.shown !== "killed") return;
  for (let x = bar.x - height; x < right; x += 5) line(context, x, y, x + height, y + height);
}

function paintMark(
  context: CanvasRenderingContext2D,
  mark: Mark,
  top: number,
  palette: Palette,
): void {
  const y = top + LANE_H / 2 - 0.5;
  const r = 4.5;
  context.beginPath();
  context.moveTo(mark.x, y - r);
  context.lineTo(mark.x + r, y);
  context.lineTo(mark.x, y + r);
  context.lineTo(mark.x - r, y);
  context.closePath();
  context.fillStyle = palette.surface;
  context.fill();
  context.strokeStyle = palette.warn;
  context.lineWidth = 1.4;
  context.stroke();
}

function paintRing(
  context: CanvasRenderingContext2D,
  bar: Bar,
  top: number,
  palette: Palette,
): void {
  context.strokeStyle = palette.ink;
  context.lineWidth = 1.5;
  context.beginPath();
  context.roundRect(bar.x - 3, top + 2.5, bar.width + 6, LANE_H - 6, 4);
  context.stroke();
}

function paintNow(
  context: CanvasRenderingContext2D,
  x: number,
  height: number,
  palette: Palette,
): void {
  context.strokeStyle = palette.text;
  context.globalAlpha = 0.7;
  context.setLineDash([2, 3]);
  context.lineWidth = 1;
  line(context, Math.round(x) - 0.5, 0, Math.round(x) - 0.5, height);
  context.setLineDash([]);
  context.globalAlpha = 1;
}
