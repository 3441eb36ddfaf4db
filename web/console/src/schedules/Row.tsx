import { Link } from "@tanstack/react-router";
import type { LastIteration, Schedule, ScheduledJob } from "@/http/model";
import { LOOKS } from "@/overview/look";
import { Button } from "@/ui/Button";
import { Chip, type ChipLook } from "@/ui/Chip";
import stacked from "@/ui/Stacked.module.css";
import { Sub } from "@/ui/Sub";
import { duration, moment, relative, span, utc } from "@/ui/time";
import { dueOf, isPaused } from "./due";
import type { Act } from "./Schedules";
import styles from "./Schedules.module.css";
import { Strip } from "./Strip";

interface RowProps {
  job: ScheduledJob;
  now: number;
  readAt: number;
  onAct: ((act: Act, job: string) => void) | null;
}

export function Row({ job, now, readAt, onAct }: RowProps) {
  const { schedule } = job;
  return (
    <tr>
      <th scope="row">
        <span className={stacked.name}>
          {job.name}
          {job.internal && <span className={stacked.tag}>internal</span>}
        </span>
        <span className={stacked.sub}>{job.title}</span>
        <span className={`${stacked.sub} ${styles.limits}`}>
          queue {job.queue} · soft {job.soft_s} s · hard {job.hard_s} s
        </span>
      </th>
      <td>
        {schedule?.in_words ?? "on request"}
        {schedule !== null && <Cron schedule={schedule} />}
      </td>
      <td>
        <State job={job} now={now} />
      </td>
      <td>
        <Next schedule={schedule} now={now} readAt={readAt} />
      </td>
      <td>
        <Last last={job.last_iteration} now={now} />
      </td>
      <td>
        <Strip job={job} />
      </td>
      {onAct !== null && (
        <td>
          <Actions job={job} now={now} onAct={onAct} />
        </td>
      )}
    </tr>
  );
}

function Cron({ schedule }: { schedule: Schedule }) {
  if (schedule.cron !== null) return <Sub>{<span className="mono">{schedule.cron}</span>}</Sub>;
  if (schedule.every_s === schedule.default_every_s) return null;
  return <Sub>changed from {schedule.default_every_s} s</Sub>;
}

function stateLook(job: ScheduledJob, now: number): ChipLook {
  const { schedule } = job;
  if (job.quarantine.length > 0) return { tone: "bad", icon: "alert", word: "quarantined" };
  if (schedule === null) return { tone: "calm", icon: "user", word: "on request" };
  if (!schedule.enabled) return { tone: "calm", icon: "power", word: "disabled" };
  if (isPaused(schedule, now)) return { tone: "warn", icon: "pause", word: "paused" };
  return { tone: "ok", icon: "check", word: "enabled" };
}

function State({ job, now }: { job: ScheduledJob; now: number }) {
  const { schedule } = job;
  const paused = schedule !== null && isPaused(schedule, now);
  return (
    <>
      <Chip look={stateLook(job, now)} />
      {job.quarantine.map((held) => (
        <Sub key={held.scope} title={utc(held.since)}>
          {held.scope !== "" && <span className="mono">{held.scope} </span>}
          {held.reason}
        </Sub>
      ))}
      {paused && (
        <>
          <Sub>
            {schedule.paused_until === null ? (
              "until somebody resumes"
            ) : (
              <span title={utc(schedule.paused_until)}>until {moment(schedule.paused_until)}</span>
            )}
          </Sub>
          {schedule.paused_by_name !== null && <Sub>by {schedule.paused_by_name}</Sub>}
          {schedule.pause_reason && <Sub>“{schedule.pause_reason}”</Sub>}
        </>
      )}
    </>
  );
}

function Next({
  schedule,
  now,
  readAt,
}: {
  schedule: Schedule | null;
  now: number;
  readAt: number;
}) {
  const due = dueOf(schedule, now, readAt);
  switch (due.kind) {
    case "never":
      return <span className="muted">–</span>;
    case "paused":
      return (
        <span className="muted" title={new Date(due.until).toISOString()}>
          resumes in {span(due.until - now)}
        </span>
      );
    case "late":
      return (
        <>
          <Chip look={{ tone: "bad", icon: "alert", word: `${span(due.byMs)} late` }} />
          <Sub>no beat has claimed it</Sub>
        </>
      );
    case "at": {
      const iso = new Date(due.at).toISOString();
      const far = due.at - now > 60_000;
      return (
        <span title={iso}>
          {relative(iso, now)}
          {far && <Sub>{moment(iso)}</Sub>}
        </span>
      );
    }
  }
}

const LATE_MS = 2_000;

function Last({ last, now }: { last: LastIteration | null; now: number }) {
  if (last === null) return <span className="muted">none yet</span>;
  const look = LOOKS[last.ended_at === null ? "running" : (last.outcome ?? "lost")];
  return (
    <>
      <Link to="/iterations/$id" params={{ id: last.id }} className={styles.last}>
        <Chip look={look} />
        {last.duration_ms !== null && <span>{duration(last.duration_ms)}</span>}
      </Link>
      <Sub title={utc(last.started_at)}>
        {relative(last.started_at, now)}
        {last.waited_ms > LATE_MS && `, started ${duration(last.waited_ms)} late`}
        {last.error_type !== null && `, ${last.error_type}`}
      </Sub>
    </>
  );
}

function Actions({
  job,
  now,
  onAct,
}: {
  job: ScheduledJob;
  now: number;
  onAct: NonNullable<RowProps["onAct"]>;
}) {
  const { schedule } = job;
  const held = job.quarantine.length > 0 || (schedule !== null && isPaused(schedule, now));
  const button = (act: Act, word: string) => (
    <Button small aria-label={`${word} ${job.name}`} onClick={() => onAct(act, job.name)}>
      {word}
    </Button>
  );
  return (
    <div className={stacked.actions}>
      {button("run", "Run")}
      {held && button("resume", "Resume")}
      {!held && schedule !== null && button("pause", "Pause")}
      {schedule !== null && button("edit", "Edit")}
    </div>
  );
}
