import type { Subscription } from "@/http/model";

export type ActionName = "cancel" | "pause" | "resume" | "extend" | "expire";

interface Action {
  name: ActionName;
  label: string;
  /** What will happen, told before it does. */
  says: string;
  needsReason: boolean;
  danger: boolean;
  allowed: (subscription: Subscription) => boolean;
}

const is = (subscription: Subscription, ...statuses: Subscription["status"][]) =>
  statuses.includes(subscription.status);

/** The server decides; these only spare the operator a refusal that is certain. */
export const ACTIONS: readonly Action[] = [
  {
    name: "pause",
    label: "Pause",
    says: "Access goes off now. The time that is left is kept and continues on resume.",
    needsReason: false,
    danger: false,
    allowed: (one) => is(one, "active", "trialing"),
  },
  {
    name: "resume",
    label: "Resume",
    says: "After a pause, access goes on again and the period ends later by the paused time. A cancellation at the end of the period is taken back.",
    needsReason: false,
    danger: false,
    allowed: (one) =>
      is(one, "paused") || (one.cancel_at_period_end && is(one, "active", "trialing")),
  },
  {
    name: "extend",
    label: "Extend",
    says: "The end of the period moves by this many hours.",
    needsReason: true,
    danger: false,
    allowed: (one) => is(one, "active", "trialing", "past_due"),
  },
  {
    name: "cancel",
    label: "Cancel",
    says: "At the end of the period access goes off without grace; now, it goes off at once.",
    needsReason: false,
    danger: true,
    allowed: (one) => is(one, "incomplete", "trialing", "active", "past_due", "paused"),
  },
  {
    name: "expire",
    label: "Expire now",
    says: "The period ends at once and access goes off, without grace.",
    needsReason: true,
    danger: true,
    allowed: (one) => is(one, "trialing", "active", "past_due"),
  },
];

export interface ActionInput {
  reason: string;
  hours: number;
  atPeriodEnd: boolean;
}

export function bodyOf(action: ActionName, input: ActionInput): Record<string, unknown> {
  if (action === "cancel") return { at_period_end: input.atPeriodEnd };
  if (action === "extend") return { hours: input.hours, reason: input.reason };
  if (action === "expire") return { reason: input.reason };
  return {};
}
