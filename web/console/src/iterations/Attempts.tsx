import { Link } from "@tanstack/react-router";
import type { IterationDetail } from "@/http/model";
import { lookOf } from "@/overview/look";
import { Chip } from "@/ui/Chip";
import { Panel } from "@/ui/Panel";
import { duration, moment, utc } from "@/ui/time";
import styles from "./Detail.module.css";

export function AttemptsPanel({ iteration }: { iteration: IterationDetail }) {
  if (iteration.attempts.length < 2) return null;
  return (
    <Panel title="Attempts of this slot" note="oldest first">
      <ul className={styles.list}>
        {iteration.attempts.map((one) => (
          <li key={one.id}>
            <span>{one.attempt}.</span>
            <Chip look={lookOf(one)} />
            {one.id === iteration.id ? (
              <span>this one</span>
            ) : (
              <Link to="/iterations/$id" params={{ id: one.id }} className="mono">
                {one.id}
              </Link>
            )}
            <span className="muted">{duration(one.duration_ms)}</span>
            <time dateTime={one.started_at} title={utc(one.started_at)}>
              {moment(one.started_at)}
            </time>
          </li>
        ))}
      </ul>
    </Panel>
  );
}
