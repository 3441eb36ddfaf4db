import { describe, expect, test } from "vitest";
import { gaugeOf } from "./gaugeOf";

describe("the duration against its limits", () => {
  test("is a share of the hard limit, and high from the soft one on", () => {
    const limits = { soft_s: 5, hard_s: 10 };
    expect(gaugeOf(2_000, limits)).toEqual({ part: 0.2, soft: 0.5, isOverSoft: false });
    expect(gaugeOf(60_000, limits)).toEqual({ part: 1, soft: 0.5, isOverSoft: true });
    expect(gaugeOf(9_000, { ...limits, soft_s: null })?.isOverSoft).toBe(false);
    expect(gaugeOf(1, { ...limits, hard_s: null })).toBeNull();
  });
});
