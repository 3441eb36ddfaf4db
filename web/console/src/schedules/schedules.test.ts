import { describe, expect, test } from "vitest";
import type { Iteration, Schedule, ScheduledJob, Slot } from "@/http/model";
import { STRIP, summary, withIteration, withSchedule, withSkip } from "./cells";
import { dueOf, isPaused } from "./due";
import { localTime } from "./localTime";
import { untilOf } from "./pauseUntil";
import { changeOf, type Form, formOf, previewOf, secondsOf } from "./rhythm";

const NOW = Date.parse("2026-11-22T10:00:00Z");
const at = (seconds: number) => new Date(NOW + seconds * 1_000).toISOString();

const schedule = (more: Partial<Schedule> = {}): Schedule => ({
  job: "expiry",
  every_s: 10,
  cron: null,
  timezone: "UTC",
  in_words: "every 10 s",
  default_every_s: 10,
  enabled: true,
  paused: false,
  paused_until: null,
  pause_reason: null,
  paused_by_name: null,
  quarantined: false,
  next_due_at: at(4),
  last_due_at: at(-6),
  overdue_s: 0,
  ...more,
});

const job = (more: Partial<ScheduledJob> = {}): ScheduledJob => ({
  name: "expiry",
  title: "",
  queue: "default",
  soft_s: 1,
  hard_s: 2,
  internal: false,
  schedule: schedule(),
  quarantine: [],
  last_iteration: null,
  recent: [],
  ...more,
});

const iteration = (more: Partial<Iteration> = {}): Iteration => ({
  id: "itr_1",
  job: "expiry",
  scope: "",
  slot_id: "slt_1",
  due_at: at(0),
  attempt: 1,
  worker: "w",
  pid: 1,
  started_at: at(0.5),
  ended_at: null,
  duration_ms: null,
  outcome: null,
  ended_by: null,
  error_type: null,
  error_message: null,
  counters: null,
  ...more,
});

describe("what is due next", () => {
  test("a row that was read a while ago is counted on by its period", () => {
    expect(dueOf(schedule(), NOW, NOW)).toEqual({ kind: "at", at: NOW + 4_000 });
    expect(dueOf(schedule({ next_due_at: at(-26) }), NOW, NOW)).toEqual({
      kind: "at",
      at: NOW + 4_000,
    });
  });

  test("a due time that nobody claims is late, and gets later", () => {
    const late = schedule({ next_due_at: at(-40), overdue_s: 40 });
    expect(dueOf(late, NOW + 5_000, NOW)).toEqual({ kind: "late", byMs: 45_000 });
  });

  test("a cron time that has come is due now", () => {
    const cron = schedule({ every_s: null, cron: "0 3 * * *", next_due_at: at(-1) });
    expect(dueOf(cron, NOW, NOW)).toEqual({ kind: "at", at: NOW });
  });

  test("paused, disabled and on request say so", () => {
    const until = schedule({ paused: true, paused_until: at(60) });
    expect(dueOf(until, NOW, NOW)).toEqual({ kind: "paused", until: NOW + 60_000 });
    expect(dueOf(schedule({ paused: true }), NOW, NOW)).toEqual({ kind: "never", why: "paused" });
    expect(dueOf(schedule({ enabled: false }), NOW, NOW)).toMatchObject({ why: "disabled" });
    expect(dueOf(null, NOW, NOW)).toMatchObject({ why: "on request" });
  });

  test("a pause is over at its hour, before the row is read again", () => {
    expect(isPaused(schedule({ paused: true, paused_until: at(1) }), NOW)).toBe(true);
    expect(isPaused(schedule({ paused: true, paused_until: at(1) }), NOW + 1_000)).toBe(false);
  });
});

describe("the form of a schedule", () => {
  const form = (more: Partial<Form> = {}): Form => ({ ...formOf(schedule()), ...more });

  test("a period stands in the largest unit that says it whole", () => {
    expect(formOf(schedule({ every_s: 7_200 }))).toMatchObject({ amount: "2", unit: "h" });
    expect(formOf(schedule({ every_s: 90 }))).toMatchObject({ amount: "90", unit: "s" });
    expect(formOf(schedule({ every_s: 0.5 }))).toMatchObject({ amount: "0.5", unit: "s" });
  });

  test("only what differs is sent", () => {
    expect(changeOf(form(), schedule())).toEqual({});
    expect(changeOf(form({ amount: "2", unit: "min" }), schedule())).toEqual({ every_s: 120 });
    expect(changeOf(form({ mode: "cron", cron: " 0 3 * * * " }), schedule())).toEqual({
      cron: "0 3 * * *",
    });
    expect(changeOf(form({ enabled: false, timezone: "Europe/Berlin" }), schedule())).toEqual({
      enabled: false,
      timezone: "Europe/Berlin",
    });
  });

  test("the catalog's own period is given back to the catalog", () => {
    const changed = schedule({ every_s: 60 });
    expect(changeOf(form({ amount: "10", unit: "s" }), changed)).toEqual({
      every_s: null,
      cron: null,
    });
    const cron = schedule({ every_s: null, cron: "0 3 * * *" });
    expect(changeOf({ ...formOf(cron), mode: "every" }, cron)).toEqual({
      every_s: null,
      cron: null,
    });
  });

  test("what is no number is not asked for", () => {
    expect(secondsOf(form({ amount: "ten" }))).toBeNull();
    expect(previewOf(form({ amount: "" }))).toBeNull();
    expect(previewOf(form({ mode: "cron", cron: " " }))).toBeNull();
    expect(previewOf(form({ mode: "cron", cron: "* * * * *" }))).toEqual({
      cron: "* * * * *",
      timezone: "UTC",
    });
  });
});

describe("for how long", () => {
  test("a span ends that much later, and a moment is the reader's own", () => {
    expect(untilOf("", "", NOW)).toBeNull();
    expect(untilOf("1h", "", NOW)).toBe("2026-11-22T11:00:00.000Z");
    expect(untilOf("moment", "2026-11-23T08:00", NOW)).toBe(
      new Date("2026-11-23T08:00").toISOString(),
    );
    expect(untilOf("moment", "", NOW)).toBeNull();
  });
});

describe("a local time", () => {
  test("shows the wall's clock with its offset", () => {
    expect(localTime("2026-03-29T03:00:00+02:00")).toBe("Sun, Mar 29, 03:00:00 +02:00");
    expect(localTime("2026-03-29T03:00:00.123456+00:00")).toBe("Sun, Mar 29, 03:00:00 UTC");
  });
});

describe("the strip", () => {
  test("an iteration's START and END are one bar", () => {
    const started = withIteration([job()], iteration());
    const ended = iteration({ ended_at: at(1), outcome: "ok", duration_ms: 500 });
    const [after] = withIteration(started, ended);
    expect(after?.recent).toMatchObject([{ slot_id: "slt_1", outcome: "ok" }]);
    expect(after?.last_iteration).toMatchObject({ id: "itr_1", waited_ms: 500, outcome: "ok" });
  });

  test("a START that comes after its END changes nothing", () => {
    const ended = iteration({ ended_at: at(1), outcome: "killed" });
    const [after] = withIteration(withIteration([job()], ended), iteration());
    expect(after?.recent[0]?.outcome).toBe("killed");
    expect(after?.last_iteration?.outcome).toBe("killed");
  });

  test("a second attempt takes the place of the first", () => {
    const first = withIteration([job()], iteration({ ended_at: at(1), outcome: "failed" }));
    const second = withIteration(first, iteration({ id: "itr_2", attempt: 2 }));
    const [after] = withIteration(second, iteration({ ended_at: at(1), outcome: "failed" }));
    expect(after?.recent).toMatchObject([{ iteration_id: "itr_2", outcome: null }]);
    expect(after?.last_iteration?.id).toBe("itr_2");
  });

  test("a skip is a bar with its reason, and the oldest leaves", () => {
    let jobs: ScheduledJob[] = [job()];
    for (let n = 0; n < STRIP; n += 1) {
      jobs = withIteration(jobs, iteration({ id: `itr_${100 + n}`, slot_id: `slt_${n}` }));
    }
    const skip = { id: "slt_x", job: "expiry", due_at: at(9), reason: "overlap", count: 3 } as Slot;
    const [after] = withSkip(jobs, skip);
    expect(after?.recent).toHaveLength(STRIP);
    expect(after?.recent.at(-1)).toMatchObject({ state: "skipped", reason: "overlap", count: 3 });
    expect(summary(after?.recent ?? [])).toBe("the last 24: 23 running, 1 skipped");
  });

  test("what somebody else did to a schedule is shown, and other jobs are left alone", () => {
    const other = job({ name: "reminders" });
    const data = { ...schedule({ paused: true, pause_reason: "moving" }) };
    const [after, same] = withSchedule([job(), other], data);
    expect(after?.schedule).toMatchObject({ paused: true, pause_reason: "moving" });
    expect(same).toBe(other);
  });

  test("an event of a job that runs on request lifts its quarantine and makes no schedule", () => {
    const held = job({
      name: "sleep",
      schedule: null,
      quarantine: [{ scope: "kill", reason: "x", since: at(0) }],
    });
    const [after] = withSchedule([held], { job: "sleep", quarantined: false });
    expect(after).toMatchObject({ schedule: null, quarantine: [] });
  });
});
