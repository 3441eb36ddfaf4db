import type { IterationDetail, LedgerRecord } from "@/http/model";
import { Copyable } from "@/ui/Copyable";
import { Panel } from "@/ui/Panel";
import { utc } from "@/ui/time";
import styles from "./Detail.module.css";

const KINDS = [
  { type: "iteration.started", name: "START", missing: "Not kept any more." },
  { type: "iteration.ended", name: "END", missing: "Not written yet: it is running." },
] as const;

/** The two events of the ledger. The log's lines are its echo; they lie on the node that wrote them. */
export function RecordsPanel({ iteration }: { iteration: IterationDetail }) {
  return (
    <Panel title="The ledger's two records">
      <div className={styles.records} data-testid="records">
        {KINDS.map((kind) => {
          const found = iteration.records.find((one) => one.type === kind.type);
          const gone = iteration.ended_at !== null ? "Not kept any more." : kind.missing;
          return (
            <section key={kind.type} className={styles.record} aria-label={kind.name}>
              <h3>
                {kind.name} <span className="mono">{kind.type}</span>
              </h3>
              {found === undefined ? <p className="muted">{gone}</p> : <Written record={found} />}
            </section>
          );
        })}
        <p className={styles.note}>
          Written in the same statement as the row itself. The node's log has a line{" "}
          <span className="mono">ITERATION_START</span> and{" "}
          <span className="mono">ITERATION_END</span> as well, printed after the commit; it stays on
          the node.
        </p>
      </div>
    </Panel>
  );
}

function Written({ record }: { record: LedgerRecord }) {
  return (
    <>
      <dl className={styles.meta}>
        <dt>Event</dt>
        <dd>
          <Copyable text={record.event_id} />
        </dd>
        <dt>Place in the order</dt>
        <dd>{record.seq ?? "not given yet by the relay"}</dd>
        <dt>Written</dt>
        <dd className="mono">{utc(record.ts)}</dd>
      </dl>
      <dl className={styles.data}>
        {Object.entries(record.data).map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{typeof value === "string" ? value || "–" : JSON.stringify(value)}</dd>
          </div>
        ))}
      </dl>
    </>
  );
}
