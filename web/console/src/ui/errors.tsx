import { isProblem } from "@/http/problem";
import { ProblemPanel } from "./Panel";

/** What the server says of each field. */
export function errorsOf(error: unknown): Record<string, string> {
  if (!isProblem(error)) return {};
  return Object.fromEntries(error.fields.map((one) => [one.field, one.message]));
}

/** The error as a whole, unless it stands beside the fields that it names. */
export function Rest({ error, shown }: { error: unknown; shown: readonly string[] }) {
  if (error === null || error === undefined) return null;
  if (isProblem(error) && error.fields.length > 0) {
    if (error.fields.every((one) => shown.includes(one.field))) return null;
  }
  return <ProblemPanel error={error} />;
}
