import { Chip } from "@/ui/Chip";
import { moment, span } from "@/ui/time";
import { useClockOffset, useDomainNow } from "./domainClock";

const SMALLEST_MS = 1_000;

/** Says loudly that domain time was moved; nothing in production. */
export function SandboxClock() {
  const offset = useClockOffset();
  const now = useDomainNow();
  if (Math.abs(offset) < SMALLEST_MS) return null;
  const title = `Periods, trials and reminders see ${moment(new Date(now).toISOString())}`;
  const word = `sandbox clock ${offset > 0 ? "+" : "-"}${span(Math.abs(offset))}`;
  return <Chip look={{ tone: "warn", icon: "clock", word }} title={title} />;
}
