/** What the screen says of an integration and of the breaker before it. Pure. */
import type { Breaker, BreakerState, Integration } from "@/http/model";
import type { ChipLook } from "@/ui/Chip";
import { moment } from "@/ui/time";

const KINDS: Record<string, string> = {
  provisioner: "switches access on and off",
  notifier: "carries notices",
  chain: "nodes of a chain that are read",
  payment_provider: "a payment provider that calls us",
  webhook: "an endpoint that is told events",
};

export const kindOf = (kind: string): string => KINDS[kind] ?? kind;

export function stateLook({ state }: Integration): ChipLook {
  if (state === "off") return { tone: "calm", icon: "power", word: "not set up" };
  if (state === "degraded") return { tone: "warn", icon: "alert", word: "degraded" };
  return { tone: "ok", icon: "check", word: "ok" };
}

const BREAKERS: Record<BreakerState, ChipLook> = {
  closed: { tone: "ok", icon: "check", word: "closed" },
  open: { tone: "bad", icon: "cross", word: "open" },
  half_open: { tone: "warn", icon: "question", word: "half open" },
  unknown: { tone: "warn", icon: "question", word: "unknown" },
};

export const breakerWord = (state: BreakerState): string => BREAKERS[state].word;

export function breakerLook({ state, forced }: Breaker): ChipLook {
  const look = BREAKERS[state];
  return forced === null ? look : { ...look, icon: "lock", word: `forced ${look.word}` };
}

const plural = (count: number, one: string, many: string) => `${count} ${count === 1 ? one : many}`;

/** What the state means for the next call. `readAgoMs`: how long ago the breaker was read. */
export function breakerLines(breaker: Breaker, readAgoMs: number): string[] {
  const { forced, automatic, failures, retry_after_s } = breaker;
  const lines: string[] = [];
  if (forced !== null) {
    lines.push(
      forced.state === "open" ? "nobody is called" : "called whatever happens",
      `by ${forced.set_by_name} until ${moment(forced.until)}`,
      `“${forced.reason}”`,
      `left to itself: ${breakerWord(automatic)}`,
    );
  } else if (automatic === "open") {
    const left = Math.ceil((retry_after_s ?? 0) - readAgoMs / 1_000);
    lines.push(left > 0 ? `one call asks again in ${left} s` : "the next call asks again");
  } else if (automatic === "half_open") {
    lines.push("the next call asks whether it is back");
  } else if (automatic === "unknown") {
    lines.push("Valkey does not answer: calls go on unguarded");
  }
  if (failures) lines.push(`${plural(failures, "call", "calls")} failed within a minute`);
  return lines;
}

/** What the guard has done since its state was first kept; empty when it never had to do anything. */
export function guardLines(breaker: Breaker): string[] {
  const { opens, refused, over_budget, unguarded } = breaker;
  return [
    ...(opens > 0 ? [`opened ${plural(opens, "time", "times")}`] : []),
    ...(refused > 0 ? [`${plural(refused, "call", "calls")} held back`] : []),
    ...(over_budget > 0 ? [`${plural(over_budget, "retry", "retries")} over the budget`] : []),
    ...(unguarded > 0 ? [`${plural(unguarded, "call", "calls")} unguarded`] : []),
  ];
}
