/** The form of a schedule, and what it asks of the API. Pure. */
import type { Schedule } from "@/http/model";

export type Unit = "s" | "min" | "h" | "d";
export const UNITS: Record<Unit, number> = { s: 1, min: 60, h: 3_600, d: 86_400 };

export interface Form {
  mode: "every" | "cron";
  amount: string;
  unit: Unit;
  cron: string;
  timezone: string;
  enabled: boolean;
}

/** The largest unit that says it in a whole number. */
export function inUnit(seconds: number): { amount: string; unit: Unit } {
  const units = Object.entries(UNITS).reverse() as [Unit, number][];
  const [unit, size] = units.find(([, one]) => seconds >= one && seconds % one === 0) ?? ["s", 1];
  return { amount: String(seconds / size), unit };
}

export function formOf(schedule: Schedule): Form {
  const seconds = schedule.every_s ?? schedule.default_every_s ?? 60;
  return {
    mode: schedule.cron === null ? "every" : "cron",
    ...inUnit(seconds),
    cron: schedule.cron ?? "0 3 * * *",
    timezone: schedule.timezone,
    enabled: schedule.enabled,
  };
}

/** Seconds, or null while what stands in the field is no number. */
export function secondsOf(form: Form): number | null {
  const amount = form.amount.trim() === "" ? Number.NaN : Number(form.amount);
  return Number.isFinite(amount) ? amount * UNITS[form.unit] : null;
}

export interface Change {
  every_s?: number | null;
  cron?: string | null;
  timezone?: string;
  enabled?: boolean;
}

/** Only what differs. The catalog's own period is asked for as such, so that it follows the catalog. */
export function changeOf(form: Form, schedule: Schedule): Change {
  const change: Change = {};
  const seconds = secondsOf(form);
  if (form.mode === "cron") {
    if (form.cron.trim() !== schedule.cron) change.cron = form.cron.trim();
  } else if (seconds !== null && (schedule.cron !== null || seconds !== schedule.every_s)) {
    if (seconds === schedule.default_every_s) Object.assign(change, { every_s: null, cron: null });
    else change.every_s = seconds;
  }
  if (form.timezone.trim() !== schedule.timezone) change.timezone = form.timezone.trim();
  if (form.enabled !== schedule.enabled) change.enabled = form.enabled;
  return change;
}

/** What the preview is asked with; null while the form says nothing that could be asked. */
export function previewOf(form: Form): Record<string, string | number> | null {
  const timezone = form.timezone.trim();
  if (timezone === "") return null;
  if (form.mode === "cron")
    return form.cron.trim() === "" ? null : { cron: form.cron.trim(), timezone };
  const seconds = secondsOf(form);
  return seconds === null ? null : { every_s: seconds, timezone };
}
