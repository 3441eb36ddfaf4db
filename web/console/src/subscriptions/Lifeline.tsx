import { useDomainNow } from "@/app/domainClock";
import type { Subscription } from "@/http/model";
import { date } from "@/ui/time";
import styles from "./Detail.module.css";

export interface Segments {
  from: number;
  to: number;
  periodEnd: number;
  graceEnd: number | null;
}

/** The span to draw: the period, its grace, and today when that lies outside. */
export function segmentsOf(subscription: Subscription, now: number): Segments | null {
  if (subscription.period_start === null || subscription.period_end === null) return null;
  const start = Date.parse(subscription.period_start);
  const periodEnd = Date.parse(subscription.period_end);
  const graceEnd = subscription.grace_until === null ? null : Date.parse(subscription.grace_until);
  const to = Math.max(periodEnd, graceEnd ?? periodEnd);
  if (to <= start) return null;
  return { from: Math.min(start, now), to: Math.max(to, now), periodEnd, graceEnd };
}

export function Lifeline({ subscription }: { subscription: Subscription }) {
  const now = useDomainNow();
  const segments = segmentsOf(subscription, now);
  if (segments === null || subscription.period_start === null) return null;
  const { from, to, periodEnd, graceEnd } = segments;
  const at = (time: number) => `${((time - from) / (to - from)) * 100}%`;
  const start = Date.parse(subscription.period_start);
  const wide = (a: number, b: number) => `${((b - a) / (to - from)) * 100}%`;
  const trial = subscription.status === "trialing";
  return (
    <div className={styles.life}>
      <div className={styles.track} role="img" aria-label="The period, its grace, and now">
        <i
          className={trial ? styles.trial : styles.paid}
          style={{ left: at(start), width: wide(start, periodEnd) }}
        />
        {graceEnd !== null && (
          <i
            className={styles.grace}
            style={{ left: at(periodEnd), width: wide(periodEnd, graceEnd) }}
          />
        )}
        <i className={styles.now} style={{ left: at(now) }} />
      </div>
      <div className={styles.ends}>
        <span>
          {trial ? "trial" : "period"} from {date(subscription.period_start)}
        </span>
        <span>
          {graceEnd !== null && graceEnd > periodEnd
            ? `grace until ${date(subscription.grace_until ?? "")}`
            : `until ${date(subscription.period_end ?? "")}`}
        </span>
      </div>
    </div>
  );
}
