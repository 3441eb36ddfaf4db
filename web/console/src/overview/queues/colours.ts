/** Queues differ by colour and by dash, in the chart and in its key. */
export const STROKES = [
  { variable: "--bar-running", dash: [] },
  { variable: "--bar-killed", dash: [6, 3] },
  { variable: "--bar-timed_out", dash: [2, 3] },
  { variable: "--bar-ok", dash: [8, 3, 2, 3] },
] as const;

export function strokeOf(index: number): (typeof STROKES)[number] {
  return STROKES[index % STROKES.length] ?? STROKES[0];
}

export const dashStyle = (index: number) =>
  (["solid", "dashed", "dotted", "dashed"] as const)[index % STROKES.length] ?? "solid";
