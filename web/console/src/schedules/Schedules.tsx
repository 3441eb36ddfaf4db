import { useNavigate, useSearch } from "@tanstack/react-router";
import { useState } from "react";
import { useMay } from "@/app/useUser";
import type { ScheduledJob } from "@/http/model";
import { RunDialog } from "@/overview/RunDialog";
import { Button, Segments } from "@/ui/Button";
import { Empty, Loaded, Panel } from "@/ui/Panel";
import stacked from "@/ui/Stacked.module.css";
import { Table } from "@/ui/Table";
import { useNow } from "@/ui/useNow";
import { useLiveSchedules, useScheduledJobs } from "./data";
import { EditDialog } from "./EditDialog";
import { PauseDialog } from "./PauseDialog";
import { ResumeDialog } from "./ResumeDialog";
import { Row } from "./Row";
import styles from "./Schedules.module.css";
import { StripLegend } from "./Strip";

const COLUMNS = ["Job", "Due", "State", "Next", "Last iteration", "Recent, newest right"] as const;

export type Act = "run" | "pause" | "resume" | "edit";

export function Schedules() {
  const { internal } = useSearch({ from: "/schedules" });
  const navigate = useNavigate({ from: "/schedules" });
  const [open, setOpen] = useState<{ act: Act; job: string | undefined } | null>(null);
  const mayAct = useMay("operator");
  const query = useScheduledJobs();
  useLiveSchedules();
  const close = () => setOpen(null);
  const job = query.data?.jobs.find((one) => one.name === open?.job);
  return (
    <>
      <Panel
        title="Schedules"
        note="when each job is due, live"
        actions={
          <>
            <Segments
              label="Jobs shown"
              value={internal ? "all" : "domain"}
              options={[
                { value: "domain", label: "Product jobs" },
                { value: "all", label: "All" },
              ]}
              onChange={(value) =>
                void navigate({ search: value === "all" ? { internal: true } : {} })
              }
            />
            {mayAct && (
              <Button
                tone="primary"
                icon="play"
                data-shortcut="r"
                title="r"
                onClick={() => setOpen({ act: "run", job: undefined })}
              >
                Run now
              </Button>
            )}
          </>
        }
      >
        <Loaded query={query} rows={8}>
          {({ jobs, readAt }) => (
            <Jobs
              jobs={jobs.filter((one) => internal || !one.internal)}
              readAt={readAt}
              onAct={mayAct ? (act, name) => setOpen({ act, job: name }) : null}
            />
          )}
        </Loaded>
        <StripLegend />
      </Panel>
      {open?.act === "run" && (
        <RunDialog
          initialJob={open.job}
          onClose={close}
          onOpenIteration={(id) => void navigate({ to: "/iterations/$id", params: { id } })}
        />
      )}
      {open?.act === "pause" && job && <PauseDialog job={job} onClose={close} />}
      {open?.act === "resume" && job && <ResumeDialog job={job} onClose={close} />}
      {open?.act === "edit" && job?.schedule && (
        <EditDialog schedule={job.schedule} onClose={close} />
      )}
    </>
  );
}

interface JobsProps {
  jobs: readonly ScheduledJob[];
  readAt: number;
  onAct: ((act: Act, job: string) => void) | null;
}

function Jobs({ jobs, readAt, onAct }: JobsProps) {
  const now = useNow();
  if (jobs.length === 0) return <Empty>The catalog has no jobs.</Empty>;
  return (
    <Table
      name="schedules"
      columns={COLUMNS}
      unseenColumn={onAct === null ? null : "Actions"}
      className={`${stacked.table} ${styles.table}`}
    >
      {jobs.map((job) => (
        <Row key={job.name} job={job} now={now} readAt={readAt} onAct={onAct} />
      ))}
    </Table>
  );
}
