import { useEffect, useRef } from "react";
import uPlot from "uplot";
import { shortTime } from "@/ui/time";
import { strokeOf } from "./colours";
import type { Sample } from "./samples";

const HEIGHT = 138;

/** One x axis for series that were sampled at their own moments. */
export function align(queues: readonly string[], history: ReadonlyMap<string, readonly Sample[]>) {
  const rounded = (sample: Sample) => Math.round(sample.at / 1_000);
  const times = new Set<number>();
  const values = queues.map((queue) => {
    const byTime = new Map<number, number>();
    for (const sample of history.get(queue) ?? []) {
      times.add(rounded(sample));
      byTime.set(rounded(sample), sample.depth);
    }
    return byTime;
  });
  const x = [...times].sort((a, b) => a - b);
  const ys = values.map((byTime) => {
    let last: number | null = null;
    return x.map((at) => {
      last = byTime.get(at) ?? last;
      return last;
    });
  });
  return [x, ...ys] as uPlot.AlignedData;
}

interface DepthChartProps {
  queues: readonly string[];
  history: ReadonlyMap<string, readonly Sample[]>;
}

export function DepthChart({ queues, history }: DepthChartProps) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const names = queues.join("\n");

  useEffect(() => {
    const element = box.current;
    if (element === null) return;
    const colour = (name: string) => getComputedStyle(element).getPropertyValue(name).trim();
    const axis = { stroke: () => colour("--text-3"), font: '11px "Inter Variable", sans-serif' };
    const grid = { stroke: () => colour("--line"), width: 1 };
    const chart = new uPlot(
      {
        width: element.clientWidth,
        height: HEIGHT,
        legend: { show: false },
        cursor: { show: false },
        padding: [8, 18, 0, 0],
        scales: {
          // At least three minutes, so that the first samples do not jump about.
          x: { range: (_, min, max) => [Math.min(min ?? 0, (max ?? 0) - 180), max ?? 0] },
          y: { range: (_, __, max) => [0, Math.max(4, Math.ceil((max ?? 0) * 1.15))] },
        },
        axes: [
          {
            ...axis,
            grid: { show: false },
            size: 28,
            incrs: [60, 120, 300],
            values: (_, ticks) => ticks.map((at) => shortTime(at * 1_000)),
          },
          {
            ...axis,
            grid,
            ticks: { show: false },
            size: 34,
            incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 5e3, 1e4],
          },
        ],
        series: [
          {},
          ...names.split("\n").map((label, index) => ({
            label,
            stroke: () => colour(strokeOf(index).variable),
            dash: [...strokeOf(index).dash],
            width: 1.75,
            points: { show: false },
          })),
        ],
      },
      [[], ...names.split("\n").map(() => [])] as unknown as uPlot.AlignedData,
      element,
    );
    plot.current = chart;
    const observer = new ResizeObserver(() =>
      chart.setSize({ width: element.clientWidth, height: HEIGHT }),
    );
    observer.observe(element);
    const dark = window.matchMedia("(prefers-color-scheme: dark)");
    const redraw = () => chart.redraw(false, true);
    dark.addEventListener("change", redraw);
    return () => {
      dark.removeEventListener("change", redraw);
      observer.disconnect();
      chart.destroy();
      plot.current = null;
    };
  }, [names]);

  useEffect(() => {
    plot.current?.setData(align(names.split("\n"), history));
  }, [names, history]);

  return (
    <div
      ref={box}
      role="img"
      aria-label="Depth of each queue over time; the table below has the numbers"
    />
  );
}
