import { describe, expect, test } from "vitest";
import type { Iteration, Job } from "@/http/model";
import { mergeIteration, readIteration } from "@/http/read";
import { merged } from "../merged";
import { readOverviewSearch } from "../search";
import { barAt, barsOf, type Scale, step, ticksOf } from "./geometry";

const job: Job = {
  name: "expiry",
  title: "",
  queue: "default",
  every_s: 10,
  soft_s: 20,
  hard_s: 30,
  internal: false,
  paused: false,
};
const scale: Scale = { from: 0, to: 100_000, now: 98_000, width: 1_000 };
const at = (ms: number) => new Date(ms).toISOString();

function iteration(
  id: string,
  start: number,
  end: number | null,
  outcome: Iteration["outcome"] = "ok",
) {
  const read = readIteration({
    id,
    job: "expiry",
    scope: "",
    started_at: at(start),
    ended_at: end === null ? null : at(end),
    duration_ms: end === null ? null : end - start,
    outcome: end === null ? null : outcome,
  });
  if (read === null) throw new Error("unreadable");
  return read;
}

describe("bars", () => {
  test("a running iteration reaches to now and shows its limit when it lies on the picture", () => {
    const [bar] = barsOf([iteration("a", 60_000, null)], job, scale);
    expect(bar).toMatchObject({ shown: "running", x: 600, width: 380, limitX: 900 });
  });

  test("what lies outside is left out, what is short stays visible", () => {
    const bars = barsOf(
      [iteration("a", -9_000, -5_000), iteration("b", 50_000, 50_001)],
      job,
      scale,
    );
    expect(bars.map((bar) => [bar.iteration.id, bar.width])).toEqual([["b", 2]]);
  });

  test("trouble is painted last and found first", () => {
    const bars = barsOf(
      [iteration("bad", 50_000, 50_010, "failed"), iteration("good", 50_200, 50_400)],
      job,
      scale,
    );
    expect(bars.at(-1)?.iteration.id).toBe("bad");
    expect(barAt(bars, 503)?.iteration.id).toBe("bad");
    expect(barAt(bars, 700)).toBeNull();
  });

  test("the arrow keys walk in time and stop at the ends", () => {
    const items = [iteration("b", 2_000, 3_000), iteration("a", 1_000, 1_500)];
    expect(step(items, null, -1)).toBe("b");
    expect(step(items, "b", -1)).toBe("a");
    expect(step(items, "a", -1)).toBe("a");
  });

  test("ticks are round and have room", () => {
    const ticks = ticksOf({ from: 0, to: 3_600_000, now: 0, width: 800 });
    expect(ticks.every((tick) => tick % 600_000 === 0)).toBe(true);
    expect(ticks.length).toBeLessThanOrEqual(10);
  });
});

describe("live events", () => {
  test("an end that overtakes its start is not undone by it", () => {
    const ended = iteration("a", 1_000, 2_000, "failed");
    expect(mergeIteration(ended, iteration("a", 1_000, null))).toBe(ended);
  });

  test("the start's place in time survives an end that does not tell it", () => {
    const merged = mergeIteration(iteration("a", 1_000, null), iteration("a", 1_400, 2_000));
    expect(merged.started_at).toBe(at(1_000));
    expect(merged.outcome).toBe("ok");
  });
});

test("a link with nonsense in it opens the default overview", () => {
  expect(readOverviewSearch({ range: "9d", outcome: 7, open: "yes", iteration: "" })).toEqual({});
});

describe("an answer that was read before an event", () => {
  const all = () => true;

  test("does not undo the event", () => {
    const rows = [iteration("a", 1_000, null)];
    expect(merged(rows, [iteration("a", 1_000, 2_000)], all)[0]?.outcome).toBe("ok");
  });

  test("gains what began since, and nothing older", () => {
    const rows = [iteration("b", 5_000, 6_000)];
    const told = [iteration("a", 1_000, 2_000), iteration("c", 7_000, null)];
    expect(merged(rows, told, all).map((one) => one.id)).toEqual(["c", "b"]);
  });

  test("loses what the filter no longer accepts", () => {
    const open = (one: Iteration) => one.ended_at === null;
    expect(merged([iteration("a", 1_000, null)], [iteration("a", 1_000, 2_000)], open)).toEqual([]);
  });
});
