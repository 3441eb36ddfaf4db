import { Link } from "@tanstack/react-router";
import type { TimelineEntry } from "@/http/model";
import { Icon } from "@/ui/Icon";
import { Empty, Loaded, Panel } from "@/ui/Panel";
import { moment, utc } from "@/ui/time";
import styles from "./Detail.module.css";
import { useTimeline } from "./data";
import { details } from "./details";
import { KIND_ICON } from "./look";

export function TimelinePanel({ id }: { id: string }) {
  const query = useTimeline(id);
  return (
    <Panel title="Timeline" note="oldest first">
      <Loaded query={query} rows={8}>
        {({ entries, next }) =>
          entries.length === 0 ? (
            <Empty>Nothing has happened to this subscription yet.</Empty>
          ) : (
            <ol className={styles.entries} data-testid="timeline">
              {entries.map((entry, index) => (
                // biome-ignore lint/suspicious/noArrayIndexKey: entries are only ever appended
                <Entry key={`${entry.ts}${entry.type}${index}`} entry={entry} />
              ))}
              {next !== null && <li className="muted">Newer entries are left out here.</li>}
            </ol>
          )
        }
      </Loaded>
    </Panel>
  );
}

function Entry({ entry }: { entry: TimelineEntry }) {
  return (
    <li className={styles.entry}>
      <span className={styles.dot} data-kind={entry.kind} title={entry.kind}>
        <Icon name={KIND_ICON[entry.kind] ?? "diamond"} size={13} />
      </span>
      <div>
        <div className={styles.line}>
          <b>{words(entry.type)}</b>
          <span className="muted">{entry.kind}</span>
          <time dateTime={entry.ts} title={utc(entry.ts)}>
            {moment(entry.ts)}
          </time>
        </div>
        <Details data={entry.data} />
        {entry.iteration_id !== null && (
          <div className={styles.trace}>
            by {entry.job}{" "}
            <Link to="/iterations/$id" params={{ id: entry.iteration_id }} className="mono">
              {entry.iteration_id}
            </Link>
            {entry.worker !== null && (
              <>
                {" "}
                on <span className="mono">{entry.worker}</span>
              </>
            )}
          </div>
        )}
      </div>
    </li>
  );
}

const words = (type: string) => type.replaceAll("_", " ").replaceAll(".", " · ");

function Details({ data }: { data: Record<string, unknown> | null }) {
  const pairs = details(data);
  if (pairs.length === 0) return null;
  return (
    <div className={styles.data}>
      {pairs.map(([name, value]) => (
        <span key={name}>
          <span className="muted">{name}</span> {value}
        </span>
      ))}
    </div>
  );
}
