import { useNavigate } from "@tanstack/react-router";
import type { RecentSlot, ScheduledJob } from "@/http/model";
import { SKIP_REASONS } from "@/overview/look";
import { Legend } from "@/ui/Legend";
import { duration, moment } from "@/ui/time";
import { type Cell, cellOf, summary, wordOf } from "./cells";
import styles from "./Strip.module.css";

function told(slot: RecentSlot): string {
  const cell = cellOf(slot);
  const why = slot.reason === null ? "" : `: ${SKIP_REASONS[slot.reason] ?? slot.reason}`;
  const times = slot.count > 1 ? ` (${slot.count} due times)` : "";
  const length = slot.duration_ms === null ? "" : `, ${duration(slot.duration_ms)}`;
  return `${moment(slot.due_at)} · ${wordOf(cell)}${why}${length}${times}`;
}

/** One bar a slot. Height and pattern tell the outcome, not the colour alone. */
export function Strip({ job }: { job: ScheduledJob }) {
  const navigate = useNavigate();
  const open = (slot: RecentSlot) => {
    if (slot.iteration_id !== null) {
      void navigate({ to: "/iterations/$id", params: { id: slot.iteration_id } });
    } else void navigate({ to: "/slots", search: { slot: slot.slot_id } });
  };
  if (job.recent.length === 0) return <span className="muted">no slot yet</span>;
  return (
    <div className={styles.strip} role="img" aria-label={`${job.name}, ${summary(job.recent)}`}>
      {job.recent.map((slot) => (
        // biome-ignore lint/a11y/noStaticElementInteractions: a short cut for the mouse; the last iteration and the slots screen are links
        // biome-ignore lint/a11y/useKeyWithClickEvents: as above
        <span
          key={slot.slot_id}
          className={styles.cell}
          title={told(slot)}
          onClick={() => open(slot)}
        >
          <i className={styles[cellOf(slot)]} />
        </span>
      ))}
    </div>
  );
}

const SHOWN: Cell[] = [
  "ok",
  "running",
  "waiting",
  "skipped",
  "failed",
  "timed_out",
  "killed",
  "lost",
];

export function StripLegend() {
  return (
    <Legend standing>
      {SHOWN.map((cell) => (
        <li key={cell}>
          <span className={`${styles.cell} ${styles.key}`}>
            <i className={styles[cell]} />
          </span>
          {wordOf(cell)}
        </li>
      ))}
    </Legend>
  );
}
