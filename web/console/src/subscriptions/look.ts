import type { Invoice, Money, Provisioning, SubscriptionStatus, TimelineEntry } from "@/http/model";
import type { ChipLook } from "@/ui/Chip";
import type { IconName } from "@/ui/Icon";

export const STATUS_LOOK: Record<SubscriptionStatus, ChipLook> = {
  incomplete: { tone: "calm", icon: "clock", word: "incomplete" },
  trialing: { tone: "info", icon: "diamond", word: "trialing" },
  active: { tone: "ok", icon: "check", word: "active" },
  past_due: { tone: "warn", icon: "alert", word: "past due" },
  paused: { tone: "calm", icon: "pause", word: "paused" },
  canceled: { tone: "calm", icon: "stop", word: "canceled" },
  expired: { tone: "bad", icon: "cross", word: "expired" },
};

export function provisioningLook(provisioning: Provisioning): ChipLook {
  const wanted = provisioning.desired === "on" ? "access on" : "access off";
  if (provisioning.state === "blocked")
    return { tone: "bad", icon: "cross", word: `${wanted}, blocked` };
  if (provisioning.state === "pending")
    return { tone: "warn", icon: "clock", word: `${wanted}, pending` };
  return provisioning.desired === "on"
    ? { tone: "ok", icon: "key", word: wanted }
    : { tone: "calm", icon: "lock", word: wanted };
}

const INVOICE_LOOK: Record<string, ChipLook> = {
  draft: { tone: "calm", icon: "dash", word: "draft" },
  open: { tone: "info", icon: "clock", word: "open" },
  paid: { tone: "ok", icon: "check", word: "paid" },
  expired: { tone: "calm", icon: "cross", word: "expired" },
  void: { tone: "calm", icon: "stop", word: "void" },
};

export function invoiceLook(invoice: Invoice): ChipLook {
  return INVOICE_LOOK[invoice.status] ?? { tone: "calm", icon: "question", word: invoice.status };
}

export const KIND_ICON: Record<TimelineEntry["kind"], IconName> = {
  event: "diamond",
  notice: "bell",
  provisioning: "key",
  payment: "card",
  operator: "user",
};

/** Minor units in the currency's own number of decimals; the amount itself stays an integer. */
export function money(value: Money | null): string {
  if (value === null) return "–";
  const format = new Intl.NumberFormat("en", { style: "currency", currency: value.currency });
  const decimals = format.resolvedOptions().maximumFractionDigits ?? 2;
  return format.format(value.amount_minor / 10 ** decimals);
}
