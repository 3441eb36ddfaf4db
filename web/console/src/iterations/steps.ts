/** The way of one slot, step by step, with who took each step. Pure. */
import type { IterationDetail, WholeSlot } from "@/http/model";
import { ENDED_BY, LOOKS, SKIP_REASONS, shownOf } from "@/overview/look";
import type { ChipTone } from "@/ui/Chip";
import type { IconName } from "@/ui/Icon";

export interface Step {
  name: string;
  /** RFC 3339; null for what has not happened, or whose time is not kept. */
  at: string | null;
  by: string;
  icon: IconName;
  tone: ChipTone;
  /** What it could have been instead, by name. */
  instead: readonly string[];
}

const ENDS = ["ok", "failed", "timed out", "killed", "lost", "canceled"];

function due(slot: WholeSlot): Step {
  const times = slot.count > 1 ? `, for ${slot.count} due times` : "";
  const asked = `asked for by ${slot.asked_by ?? "the command line"}`;
  return {
    name: "Due",
    at: slot.due_at,
    by: slot.origin === "run" ? asked : `by the schedule${times}`,
    icon: "clock",
    tone: "ok",
    instead: [],
  };
}

function published(slot: WholeSlot, queue: string | null, attempt: number): Step {
  const base = { name: "Published", icon: "signal" as const, instead: [] };
  if (attempt < slot.attempt) {
    return { ...base, at: null, by: "the time of this attempt is not kept", tone: "calm" };
  }
  if (slot.published_at === null) {
    const waits = slot.state === "pending";
    const by = waits ? "not yet: the broker has not taken it" : "the broker never took it";
    return {
      ...base,
      at: null,
      by: slot.state === "started" ? "not recorded" : by,
      tone: waits ? "info" : "warn",
    };
  }
  const tries = slot.publish_tries > 1 ? `, try ${slot.publish_tries}` : "";
  const where = queue === null ? "" : `, to the queue ${queue}`;
  return {
    ...base,
    at: slot.published_at,
    by: `by the process that claimed it${where}${tries}`,
    tone: "ok",
  };
}

export function stepsOf(iteration: IterationDetail): Step[] {
  const { slot } = iteration;
  const pid = iteration.pid === null ? "" : `, process ${iteration.pid}`;
  const steps: Step[] = [
    due(slot),
    published(slot, iteration.queue, iteration.attempt),
    {
      name: "START",
      at: iteration.started_at,
      by: `by ${iteration.worker}${pid}`,
      icon: "play",
      tone: "ok",
      instead: ["skipped"],
    },
  ];
  const shown = shownOf(iteration);
  if (shown === "running") {
    const tone = "info" as const;
    return [
      ...steps,
      { name: "END", at: null, by: "not yet: it is running", icon: "spinner", tone, instead: ENDS },
    ];
  }
  const { icon, tone, word } = LOOKS[shown];
  const by = iteration.ended_by ?? "";
  return [
    ...steps,
    {
      name: `END: ${word}`,
      at: iteration.ended_at,
      by: `by ${ENDED_BY[by] ?? by}`,
      icon,
      tone,
      instead: ENDS.filter((one) => one !== word),
    },
  ];
}

/** The way of a slot of which no iteration is shown. */
export function stepsOfSlot(slot: WholeSlot, queue: string | null): Step[] {
  const steps = [due(slot), published(slot, queue, slot.attempt)];
  if (slot.state === "pending") {
    return [
      ...steps,
      {
        name: "START",
        at: null,
        by: "waiting for a worker",
        icon: "spinner",
        tone: "info",
        instead: ["skipped"],
      },
    ];
  }
  if (slot.state === "started") {
    return [
      ...steps,
      {
        name: "START",
        at: slot.decided_at,
        by: "by a worker",
        icon: "play",
        tone: "ok",
        instead: ["skipped"],
      },
    ];
  }
  const why = SKIP_REASONS[slot.reason ?? ""] ?? slot.reason ?? "";
  return [
    ...steps,
    {
      name: "Skipped",
      at: slot.decided_at,
      by: why,
      icon: "diamond",
      tone: "warn",
      instead: ["START"],
    },
  ];
}

/** Milliseconds between two steps; null where a time is not known or the order of notes is another. */
export function between(a: Step | undefined, b: Step): number | null {
  if (a?.at == null || b.at === null) return null;
  const ms = Date.parse(b.at) - Date.parse(a.at);
  return ms < 0 ? null : ms;
}
