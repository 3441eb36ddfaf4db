import { Link, useParams } from "@tanstack/react-router";
import type { ReactNode } from "react";
import type { IterationDetail } from "@/http/model";
import { isProblem } from "@/http/problem";
import { lookOf } from "@/overview/look";
import { buttonClass } from "@/ui/Button";
import { Chip } from "@/ui/Chip";
import { Copyable } from "@/ui/Copyable";
import { Facts } from "@/ui/Drawer";
import { Gauge } from "@/ui/Gauge";
import { gaugeOf } from "@/ui/gaugeOf";
import { Icon } from "@/ui/Icon";
import { Empty, Loaded, Panel, Skeleton } from "@/ui/Panel";
import { duration, moment, utc } from "@/ui/time";
import { useNow } from "@/ui/useNow";
import { AttemptsPanel } from "./Attempts";
import styles from "./Detail.module.css";
import { useIterationDetail } from "./data";
import { EffectsPanel } from "./Effects";
import { RecordsPanel } from "./Records";
import { StateDiagram } from "./StateDiagram";
import { stepsOf } from "./steps";

export function IterationPage() {
  const { id } = useParams({ from: "/iterations/$id" });
  const query = useIterationDetail(id);
  const missing = isProblem(query.error) && query.error.status === 404;
  return (
    <div className={styles.page}>
      <Back job={query.data?.job} />
      {missing ? (
        <Panel title="Not found">
          <Empty
            action={
              <Link to="/" search={{ view: "table" }} className={buttonClass()}>
                See the iterations
              </Link>
            }
          >
            There is no iteration <span className="mono">{id}</span>. Old ones are deleted in time.
          </Empty>
        </Panel>
      ) : (
        <>
          <Panel title={query.data?.job ?? "Iteration"} actions={<Copyable text={id} />}>
            <Loaded query={query} rows={4}>
              {(iteration) => <Head iteration={iteration} />}
            </Loaded>
          </Panel>
          {query.data === undefined ? (
            query.error === null && <Skeleton rows={6} />
          ) : (
            <div className={styles.columns}>
              <div className={styles.page}>
                <WorkPanel iteration={query.data} />
                <AttemptsPanel iteration={query.data} />
                <EffectsPanel iteration={query.data} />
              </div>
              <RecordsPanel iteration={query.data} />
            </div>
          )}
        </>
      )}
    </div>
  );
}

function Back({ job }: { job: string | undefined }) {
  return (
    <Link
      to="/"
      search={job === undefined ? { view: "table" } : { view: "table", job }}
      className={styles.back}
    >
      <Icon name="left" size={14} /> {job === undefined ? "All iterations" : `Iterations of ${job}`}
    </Link>
  );
}

function Head({ iteration }: { iteration: IterationDetail }) {
  return (
    <>
      <div className={styles.top}>
        <Chip look={lookOf(iteration)} />
        {iteration.scope !== "" && (
          <span>
            scope <span className="mono">{iteration.scope}</span>
          </span>
        )}
        {iteration.error_type !== null && (
          <span className={styles.error}>
            <b className="mono">{iteration.error_type}</b> {iteration.error_message}
          </span>
        )}
      </div>
      <StateDiagram steps={stepsOf(iteration)} />
    </>
  );
}

function Fact({ name, children }: { name: string; children: ReactNode }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

const COUNTED = ["seen", "done", "skipped", "failed"];

function WorkPanel({ iteration }: { iteration: IterationDetail }) {
  const { limits } = iteration;
  const seconds = (value: number | null) => (value === null ? "not known today" : `${value} s`);
  const flower = { target: "_blank", rel: "noreferrer" };
  return (
    <Panel title="Work">
      <div className={styles.work}>
        <Length iteration={iteration} />
        <dl className={styles.facts}>
          <Fact name="Soft limit">{seconds(limits.soft_s)}</Fact>
          <Fact name="Hard limit">{seconds(limits.hard_s)}</Fact>
          <Fact name="Deadline">
            <span title={`${utc(limits.deadline_at)}: from then on the reaper calls it lost`}>
              {moment(limits.deadline_at)}
            </span>
          </Fact>
          <Fact name="Attempt">
            {iteration.attempt} of at most {iteration.max_attempts}
          </Fact>
          {COUNTED.map((name) => (
            <Fact key={name} name={`Rows ${name}`}>
              {iteration.counters?.[name] ?? "–"}
            </Fact>
          ))}
        </dl>
        <Facts
          rows={{
            Queue: iteration.queue,
            Worker: (
              <a
                className="mono"
                href={`/flower/worker/${encodeURIComponent(iteration.worker)}`}
                {...flower}
              >
                {iteration.worker} <Icon name="external" size={11} />
              </a>
            ),
            Slot: (
              <Link to="/slots" search={{ slot: iteration.slot_id }} className="mono">
                {iteration.slot_id}
              </Link>
            ),
            "Task in Flower": (
              <a
                className="mono"
                href={`/flower/task/${encodeURIComponent(iteration.task_id)}`}
                {...flower}
              >
                {iteration.task_id} <Icon name="external" size={11} />
              </a>
            ),
          }}
        />
      </div>
    </Panel>
  );
}

/** The duration against the limits; while it runs, as far as it has come. */
function Length({ iteration }: { iteration: IterationDetail }) {
  const now = useNow();
  const soFar = Math.max(0, now - Date.parse(iteration.started_at));
  const ms = iteration.duration_ms ?? soFar;
  const gauge = gaugeOf(ms, iteration.limits);
  return (
    <div className={styles.length}>
      <span>
        <b>{duration(ms)}</b> {iteration.duration_ms === null && "so far"}
      </span>
      {gauge !== null && (
        <Gauge shares={gauge} title={`of ${iteration.limits.hard_s} s hard limit`} wide />
      )}
      {gauge !== null && (
        <span className={styles.scale}>
          <span>0</span>
          {gauge.soft !== null && <span style={{ left: `${gauge.soft * 100}%` }}>soft</span>}
          <span>hard</span>
        </span>
      )}
    </div>
  );
}
