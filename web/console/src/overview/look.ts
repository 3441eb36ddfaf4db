import type { Iteration, Outcome, Slot } from "@/http/model";
import type { ChipLook } from "@/ui/Chip";

export type Shown = Outcome | "running";

export const LOOKS: Record<Shown, ChipLook> = {
  ok: { tone: "ok", icon: "check", word: "ok" },
  failed: { tone: "bad", icon: "cross", word: "failed" },
  timed_out: { tone: "warn", icon: "clock", word: "timed out" },
  killed: { tone: "kill", icon: "skull", word: "killed" },
  lost: { tone: "calm", icon: "question", word: "lost" },
  canceled: { tone: "calm", icon: "stop", word: "canceled" },
  running: { tone: "info", icon: "spinner", word: "running" },
};

export const shownOf = (iteration: Iteration): Shown =>
  iteration.ended_at === null ? "running" : (iteration.outcome ?? "lost");

export const lookOf = (iteration: Iteration): ChipLook => LOOKS[shownOf(iteration)];

/** Who wrote the END, in words. */
export const ENDED_BY: Record<string, string> = {
  child: "the worker's child process itself",
  parent: "the worker's parent, on behalf of a child that could not",
  reaper: "the reaper, because nobody else was left to write it",
};

export const SKIP_REASONS: Record<string, string> = {
  overlap: "the one before was still running",
  expired: "it waited too long for a worker",
  paused: "the schedule was paused",
  outage: "nothing was scheduling at that time",
  canceled: "it was canceled",
  undelivered: "the broker could not be reached in time",
  quarantined: "the job is in quarantine",
};

export function slotLook(slot: Slot): ChipLook {
  if (slot.state === "pending") return { tone: "info", icon: "clock", word: "waiting" };
  if (slot.state === "started") return { tone: "ok", icon: "check", word: "started" };
  return { tone: "warn", icon: "diamond", word: `skipped: ${slot.reason ?? "unknown"}` };
}
