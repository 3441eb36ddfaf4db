/** The data of a timeline entry as short pairs of words. Whatever a provider wrote stays plain text. */
import { moment } from "@/ui/time";
import { money } from "./look";

const INSTANT = /^\d{4}-\d\d-\d\d[T ]\d\d:\d\d/;
const LONGEST = 160;

export type Pair = [name: string, value: string];

function asMoney(value: unknown): string | null {
  const { amount_minor: minor, currency } = fields(value);
  if (typeof minor !== "number" || typeof currency !== "string") return null;
  return money({ amount_minor: minor, currency });
}

function asProgress(value: unknown): string | null {
  const { seen, required } = fields(value);
  return typeof seen === "number" && typeof required === "number" ? `${seen} of ${required}` : null;
}

function plain(value: unknown): string {
  if (value === true) return "yes";
  if (value === false) return "no";
  const known = asMoney(value) ?? asProgress(value);
  if (known !== null) return known;
  const text = typeof value === "object" ? JSON.stringify(value) : String(value);
  if (INSTANT.test(text) && !Number.isNaN(Date.parse(text))) return moment(text);
  return text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text;
}

/** Told by the head of the screen or of no use to a person; the API has all of it. */
const HIDDEN: ReadonlySet<string> = new Set([
  "id",
  "subscription_id",
  "customer_id",
  "external_id",
  "notice_id",
  "invoice_id",
  "provider_ref",
  "applied_minor",
  "ref",
  "version",
  "period_no",
  "period_start",
  "grace_until",
  "access_until",
]);

const isQuiet = (name: string, value: unknown): boolean =>
  HIDDEN.has(name) ||
  (value === false && name !== "entitled") ||
  (name === "attempts" && Number(value) < 2) ||
  (name === "exception" && value === "none") ||
  (name === "to_balance_minor" && value === 0) ||
  (name === "confirmations" && fields(value).required === 0);

const isEmpty = (value: unknown): boolean =>
  value === null ||
  value === undefined ||
  value === "" ||
  (typeof value === "object" && Object.keys(value).length === 0);

const fields = (value: unknown): Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : {};

/** What an operator changed: only the fields that differ, as `before → after`. */
function changes(before: unknown, after: unknown): Pair[] {
  const [was, is] = [fields(before), fields(after)];
  return Object.keys(is)
    .filter((name) => !isQuiet(name, name in was ? undefined : is[name]))
    .filter((name) => !(isEmpty(is[name]) && isEmpty(was[name])))
    .filter((name) => JSON.stringify(was[name]) !== JSON.stringify(is[name]))
    .map((name) => [
      name,
      name in was
        ? `${isEmpty(was[name]) ? "–" : plain(was[name])} → ${plain(is[name])}`
        : plain(is[name]),
    ]);
}

export function details(data: Record<string, unknown> | null): Pair[] {
  const { before, after, ...rest } = data ?? {};
  const told: Pair[] = Object.entries(rest)
    .filter(([name, value]) => !isEmpty(value) && !isQuiet(name, value))
    .map(([name, value]) => [name, plain(value)]);
  return [...told, ...changes(before, after)].map(([name, value]) => [
    name.replaceAll("_", " "),
    value,
  ]);
}
