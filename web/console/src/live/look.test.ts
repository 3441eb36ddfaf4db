import { expect, test } from "vitest";
import type { LiveSnapshot } from "./client";
import { lookOf } from "./look";

const OPEN: LiveSnapshot = {
  state: "OPEN",
  attempt: 0,
  nextAttemptAt: null,
  rttMs: 12,
  connectMs: 340,
  reason: null,
  waiting: 0,
};
const waiting = (attempt: number): LiveSnapshot => ({
  ...OPEN,
  state: "RECONNECTING",
  attempt,
  nextAttemptAt: 5_400,
});

test("an open line tells its round trip and how long connecting took", () => {
  expect(lookOf(OPEN, 0)).toMatchObject({
    words: "Live",
    detail: "12 ms",
    title: "Connected in 340 ms",
  });
});

test("a lost line counts to five, with the seconds until the next try", () => {
  expect(lookOf(waiting(2), 2_000)).toMatchObject({
    words: "Reconnecting 2/5",
    detail: "next in 4 s",
    action: { label: "Retry now" },
  });
  expect(lookOf(waiting(5), 2_000).words).toBe("Reconnecting 5/5");
});

test("after five it is offline, and still tried", () => {
  const look = lookOf(waiting(6), 2_000);
  expect(look).toMatchObject({ words: "Offline", detail: "next in 4 s" });
  expect(look.action?.act).toBe("connect");
});

test("while it is being tried there is nothing to press", () => {
  const trying = lookOf({ ...waiting(3), state: "CONNECTING", nextAttemptAt: null }, 0);
  expect(trying).toMatchObject({ words: "Reconnecting 3/5", detail: "connecting" });
  expect(trying.action).toBeUndefined();
  const renewing = lookOf({ ...waiting(0), nextAttemptAt: null }, 0);
  expect(renewing).toMatchObject({ words: "Reconnecting 1/5", detail: "renewing the session" });
  expect(renewing.action).toBeUndefined();
});

test.each([
  ["expired", "Session expired", "sign_in"],
  ["forbidden", "Not allowed", undefined],
  ["protocol", "Offline", "connect"],
  ["hidden", "Paused", "connect"],
] as const)("a line that ended because of %s says so", (reason, words, act) => {
  const look = lookOf({ ...OPEN, state: "CLOSED", reason }, 0);
  expect(look.words).toBe(words);
  expect(look.action?.act).toBe(act);
});
