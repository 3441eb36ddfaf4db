import { describe, expect, test } from "vitest";
import type { Breaker } from "@/http/model";
import { moment } from "@/ui/time";
import { breakerLines, breakerLook, guardLines } from "./look";

const CLOSED: Breaker = {
  state: "closed",
  automatic: "closed",
  forced: null,
  failures: 0,
  retry_after_s: 0,
  opens: 0,
  refused: 0,
  over_budget: 0,
  unguarded: 0,
};
const UNTIL = "2026-01-01T10:00:00Z";
const forced = (state: "open" | "closed", automatic: Breaker["automatic"] = "closed"): Breaker => ({
  ...CLOSED,
  state,
  automatic,
  forced: { state, until: UNTIL, reason: "they move house", set_by_name: "ada@example.com" },
});

describe("a breaker in words", () => {
  test("one that is closed and quiet has nothing to say", () => {
    expect(breakerLook(CLOSED).word).toBe("closed");
    expect(breakerLines(CLOSED, 0)).toEqual([]);
    expect(guardLines(CLOSED)).toEqual([]);
  });

  test("one that is open counts down to the call that asks again", () => {
    const open: Breaker = {
      ...CLOSED,
      state: "open",
      automatic: "open",
      retry_after_s: 12.4,
      failures: 5,
    };
    expect(breakerLines(open, 2_000)).toEqual([
      "one call asks again in 11 s",
      "5 calls failed within a minute",
    ]);
    expect(breakerLines(open, 60_000)[0]).toBe("the next call asks again");
  });

  test("one that is half open lets the next call ask", () => {
    const half: Breaker = { ...CLOSED, state: "half_open", automatic: "half_open" };
    expect(breakerLook(half).word).toBe("half open");
    expect(breakerLines(half, 0)).toEqual(["the next call asks whether it is back"]);
  });

  test("what is forced names who, why and until when, and how it would stand otherwise", () => {
    expect(breakerLook(forced("open")).word).toBe("forced open");
    expect(breakerLines(forced("open"), 0)).toEqual([
      "nobody is called",
      `by ada@example.com until ${moment(UNTIL)}`,
      "“they move house”",
      "left to itself: closed",
    ]);
    expect(breakerLook(forced("closed", "open")).word).toBe("forced closed");
    expect(breakerLines(forced("closed", "open"), 0)).toContain("left to itself: open");
  });

  test("without Valkey the state is unknown, and calls go on", () => {
    const unknown: Breaker = { ...CLOSED, state: "unknown", automatic: "unknown", failures: null };
    expect(breakerLines(unknown, 0)).toEqual(["Valkey does not answer: calls go on unguarded"]);
  });

  test("what the guard did is counted, one as one", () => {
    expect(guardLines({ ...CLOSED, opens: 1, refused: 14, over_budget: 1, unguarded: 2 })).toEqual([
      "opened 1 time",
      "14 calls held back",
      "1 retry over the budget",
      "2 calls unguarded",
    ]);
  });
});
