import { describe, expect, test } from "vitest";
import type { IterationDetail, WholeSlot } from "@/http/model";
import { readSlotsSearch } from "@/slots/search";
import { between, stepsOf, stepsOfSlot } from "./steps";

const slot = (more: Partial<WholeSlot> = {}): WholeSlot => ({
  id: "slt_1",
  job: "sleep",
  scope: "",
  due_at: "2026-11-22T10:00:00Z",
  origin: "schedule",
  state: "started",
  reason: null,
  count: 1,
  iteration_ids: ["itr_1"],
  attempt: 1,
  expires_at: "2026-11-22T10:01:00Z",
  published_at: "2026-11-22T10:00:00.020Z",
  publish_tries: 1,
  decided_at: "2026-11-22T10:00:00.050Z",
  asked_by: null,
  ...more,
});

const iteration = (more: Partial<IterationDetail> = {}): IterationDetail => ({
  id: "itr_1",
  job: "sleep",
  scope: "",
  slot_id: "slt_1",
  due_at: "2026-11-22T10:00:00Z",
  attempt: 1,
  worker: "worker@here",
  pid: 7,
  started_at: "2026-11-22T10:00:00.050Z",
  ended_at: "2026-11-22T10:00:02.050Z",
  duration_ms: 2_000,
  outcome: "killed",
  ended_by: "parent",
  error_type: "WorkerLostError",
  error_message: null,
  counters: null,
  node_id: "nod_1",
  max_attempts: 1,
  queue: "default",
  task_id: "slt_1.1",
  slot: slot(),
  limits: { soft_s: 5, hard_s: 10, deadline_at: "2026-11-22T10:00:20Z" },
  records: [],
  attempts: [],
  effects: { count: 0, items: [] },
  ...more,
});

describe("the way of an iteration", () => {
  test("every step has its time and who took it", () => {
    const steps = stepsOf(iteration());
    expect(steps.map((step) => step.name)).toEqual(["Due", "Published", "START", "END: killed"]);
    expect(steps[0]?.by).toBe("by the schedule");
    expect(steps[1]?.by).toContain("to the queue default");
    expect(steps[2]?.by).toBe("by worker@here, process 7");
    expect(steps[3]?.by).toContain("the worker's parent");
    expect(steps[3]?.instead).not.toContain("killed");
  });

  test("what still runs has an END that could be anything", () => {
    const last = stepsOf(iteration({ ended_at: null, outcome: null, ended_by: null })).at(-1);
    expect(last).toMatchObject({ name: "END", at: null, by: "not yet: it is running" });
    expect(last?.instead).toHaveLength(6);
  });

  test("a run names the person who asked, and a catch-up its due times", () => {
    const asked = slot({ origin: "run", asked_by: "a@b.c" });
    expect(stepsOf(iteration({ slot: asked }))[0]?.by).toBe("asked for by a@b.c");
    expect(stepsOf(iteration({ slot: slot({ count: 3 }) }))[0]?.by).toContain("3 due times");
  });

  test("the publishing of an attempt that another followed is not made up", () => {
    const step = stepsOf(iteration({ slot: slot({ attempt: 2 }) }))[1];
    expect(step).toMatchObject({ at: null, by: "the time of this attempt is not kept" });
  });
});

describe("the way of a slot", () => {
  test("a skip tells why, and that it did not start", () => {
    const skipped = slot({ state: "skipped", reason: "undelivered", published_at: null });
    const steps = stepsOfSlot(skipped, "default");
    expect(steps.map((step) => step.name)).toEqual(["Due", "Published", "Skipped"]);
    expect(steps[1]?.by).toBe("the broker never took it");
    expect(steps[2]).toMatchObject({ by: "the broker could not be reached in time", tone: "warn" });
  });

  test("a slot that waits has no START yet", () => {
    const waiting = slot({ state: "pending", published_at: null, iteration_ids: [] });
    expect(stepsOfSlot(waiting, null).at(-1)).toMatchObject({ name: "START", at: null });
  });
});

describe("between two steps", () => {
  test("an order of notes that is another tells no time", () => {
    const steps = stepsOf(iteration());
    expect(between(steps[0], steps[1] as never)).toBe(20);
    expect(between(steps[3], steps[2] as never)).toBeNull();
  });
});

describe("what a link to the slots carries", () => {
  test("a filter that does not exist is dropped", () => {
    const raw = { state: "gone", reason: "overlap", job: "expiry", slot: "" };
    expect(readSlotsSearch(raw)).toEqual({ reason: "overlap", job: "expiry" });
  });
});
