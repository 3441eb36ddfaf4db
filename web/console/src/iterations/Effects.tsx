import { Link } from "@tanstack/react-router";
import type { IterationDetail } from "@/http/model";
import { Empty, Panel } from "@/ui/Panel";
import { moment, utc } from "@/ui/time";
import styles from "./Detail.module.css";

/** The entries that it caused in timelines of subscriptions. */
export function EffectsPanel({ iteration }: { iteration: IterationDetail }) {
  const { count, items } = iteration.effects;
  const left = count - items.length;
  return (
    <Panel title="What it did to subscriptions" note={count === 0 ? undefined : `${count} events`}>
      {count === 0 ? (
        <Empty>
          {iteration.ended_at === null
            ? "Nothing yet."
            : "Nothing: no event in a subscription's timeline names it."}
        </Empty>
      ) : (
        <ul className={styles.list}>
          {items.map((effect) => (
            <li key={effect.event_id}>
              <span>{effect.type.replaceAll("_", " ").replaceAll(".", " · ")}</span>
              <Link
                to="/subscriptions/$id"
                params={{ id: effect.subscription_id }}
                className="mono"
              >
                {effect.subscription_id}
              </Link>
              <time dateTime={effect.ts} title={utc(effect.ts)}>
                {moment(effect.ts)}
              </time>
            </li>
          ))}
          {left > 0 && <li className="muted">and {left} more</li>}
        </ul>
      )}
    </Panel>
  );
}
