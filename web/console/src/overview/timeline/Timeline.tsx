import { type KeyboardEvent, type MouseEvent, useEffect, useMemo, useRef, useState } from "react";
import type { Iteration, Job, Slot } from "@/http/model";
import { Chip } from "@/ui/Chip";
import { Icon } from "@/ui/Icon";
import { clockTime, duration } from "@/ui/time";
import { useNow } from "@/ui/useNow";
import type { Lane } from "../data";
import { lookOf, SKIP_REASONS } from "../look";
import {
  AXIS_H,
  type Bar,
  barAt,
  barsOf,
  LANE_H,
  type Mark,
  marksOf,
  type Scale,
  step,
  xOf,
} from "./geometry";
import { type Palette, paint, readPalette } from "./paint";
import styles from "./Timeline.module.css";
import { TimelineLegend } from "./TimelineLegend";

export interface LaneOfJob {
  job: Job;
  lane: Lane | undefined;
}

interface TimelineProps {
  lanes: readonly LaneOfJob[];
  skips: readonly Slot[];
  rangeMs: number;
  selected: string | null;
  onSelect: (id: string) => void;
  onJob: (job: string) => void;
}

interface Hover {
  x: number;
  y: number;
  bar: Bar | null;
  mark: Mark | null;
}

const NOTHING: readonly Iteration[] = [];
const AHEAD = 0.015;

export function Timeline({ lanes, skips, rangeMs, selected, onSelect, onJob }: TimelineProps) {
  const box = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const width = useWidth(box);
  const now = useNow(rangeMs > 3_600_000 ? 5_000 : 1_000);
  const palette = usePalette(box);
  const [hover, setHover] = useState<Hover | null>(null);
  const [focused, setFocused] = useState(0);

  const painted = useMemo(() => {
    const scale: Scale = { from: now - rangeMs, to: now + rangeMs * AHEAD, now, width };
    return {
      scale,
      lanes: lanes.map(({ job, lane }) => ({
        bars: barsOf(lane?.items ?? NOTHING, job, scale),
        marks: marksOf(skips, job.name, scale),
        cutX: lane?.cutAt == null ? null : Math.max(0, xOf(lane.cutAt, scale)),
      })),
    };
  }, [lanes, skips, rangeMs, now, width]);

  const height = lanes.length * LANE_H + AXIS_H;
  const hovered = hover?.bar?.iteration.id ?? null;

  useEffect(() => {
    const element = canvas.current;
    const context = element?.getContext("2d");
    if (!element || !context || palette === null || width === 0) return;
    const ratio = window.devicePixelRatio || 1;
    element.width = Math.round(width * ratio);
    element.height = Math.round(height * ratio);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    paint(context, { ...painted, selected, hovered }, palette);
  }, [painted, palette, width, height, selected, hovered]);

  const find = (event: MouseEvent): Hover => {
    const edge = event.currentTarget.getBoundingClientRect();
    const x = event.clientX - edge.left;
    const y = event.clientY - edge.top;
    const lane = painted.lanes[Math.floor(y / LANE_H)];
    const mark = lane?.marks.find((one) => Math.abs(one.x - x) <= 6) ?? null;
    const bar = lane === undefined || mark !== null ? null : barAt(lane.bars, x);
    return { x, y, bar, mark };
  };

  const press = (event: KeyboardEvent): void => {
    const lane = lanes[Math.min(focused, lanes.length - 1)];
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      const next = focused + (event.key === "ArrowDown" ? 1 : -1);
      setFocused(Math.min(lanes.length - 1, Math.max(0, next)));
    } else if ((event.key === "ArrowLeft" || event.key === "ArrowRight") && lane !== undefined) {
      const id = step(lane.lane?.items ?? NOTHING, selected, event.key === "ArrowLeft" ? -1 : 1);
      if (id !== null) onSelect(id);
    } else return;
    event.preventDefault();
  };

  return (
    <>
      <div className={styles.frame}>
        <div className={styles.labels}>
          {lanes.map(({ job }) => (
            <LaneLabel key={job.name} job={job} onJob={onJob} />
          ))}
        </div>
        <div className={styles.plot} ref={box}>
          <canvas
            ref={canvas}
            style={{ width: "100%", height }}
            tabIndex={0}
            role="img"
            aria-label={describe(lanes, focused)}
            onMouseMove={(event) => setHover(find(event))}
            onMouseLeave={() => setHover(null)}
            onClick={(event) => {
              const { bar } = find(event);
              if (bar !== null) onSelect(bar.iteration.id);
            }}
            onKeyDown={press}
          />
          {hover !== null && (hover.bar !== null || hover.mark !== null) && (
            <Tip hover={hover} width={width} />
          )}
        </div>
      </div>
      <TimelineLegend cut={painted.lanes.some((lane) => lane.cutX !== null && lane.cutX > 0)} />
    </>
  );
}

function describe(lanes: readonly LaneOfJob[], focused: number): string {
  const lane = lanes[focused];
  const count = lane?.lane?.items.length ?? 0;
  const where = lane === undefined ? "" : ` Lane: ${lane.job.name}, ${count} iterations.`;
  return `Iterations of ${lanes.length} jobs as bars over time; the table shows the same.${where}`;
}

function LaneLabel({ job, onJob }: { job: Job; onJob: (job: string) => void }) {
  return (
    <button
      type="button"
      className={styles.label}
      title={`${job.title || job.name}${job.every_s === null ? "" : `, every ${job.every_s} s`}. Show as a table.`}
      onClick={() => onJob(job.name)}
    >
      <span className={styles.name}>{job.name}</span>
      <span className={styles.rate}>
        {job.paused ? (
          <>
            <Icon name="pause" size={11} /> paused
          </>
        ) : job.every_s === null ? (
          "on request"
        ) : (
          `${job.every_s} s`
        )}
      </span>
    </button>
  );
}

function Tip({ hover, width }: { hover: Hover; width: number }) {
  const style = {
    top: hover.y + 14,
    ...(hover.x > width / 2 ? { right: width - hover.x + 10 } : { left: hover.x + 12 }),
  };
  if (hover.mark !== null) {
    const { slot } = hover.mark;
    return (
      <div className={styles.tip} style={style}>
        <strong>{slot.job}</strong>
        <span>
          {clockTime(Date.parse(slot.due_at))} · skipped:{" "}
          {SKIP_REASONS[slot.reason ?? ""] ?? slot.reason}
          {slot.count > 1 && ` (${slot.count} times)`}
        </span>
      </div>
    );
  }
  if (hover.bar === null) return null;
  const { iteration } = hover.bar;
  return (
    <div className={styles.tip} style={style}>
      <strong>
        {iteration.job} <Chip look={lookOf(iteration)} />
      </strong>
      <span>
        {clockTime(Date.parse(iteration.started_at))} · {duration(iteration.duration_ms)}
        {iteration.scope !== "" && ` · ${iteration.scope}`}
        {iteration.error_type !== null && ` · ${iteration.error_type}`}
      </span>
    </div>
  );
}

function useWidth(box: React.RefObject<HTMLDivElement | null>): number {
  const [width, setWidth] = useState(0);
  useEffect(() => {
    const element = box.current;
    if (element === null) return;
    const observer = new ResizeObserver(() => setWidth(element.clientWidth));
    observer.observe(element);
    return () => observer.disconnect();
  }, [box]);
  return width;
}

function usePalette(box: React.RefObject<HTMLDivElement | null>): Palette | null {
  const [palette, setPalette] = useState<Palette | null>(null);
  useEffect(() => {
    const read = () => box.current !== null && setPalette(readPalette(box.current));
    read();
    const dark = window.matchMedia("(prefers-color-scheme: dark)");
    dark.addEventListener("change", read);
    return () => dark.removeEventListener("change", read);
  }, [box]);
  return palette;
}
