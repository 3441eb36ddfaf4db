import { useQueries, useQuery } from "@tanstack/react-query";
import { useMemo } from "react";
import type { Job, Slot } from "@/http/model";
import { Segments } from "@/ui/Button";
import { Empty, Loaded, Panel, ProblemPanel, Skeleton } from "@/ui/Panel";
import { fetchLane, fetchSkips, laneKey, skipsKey, useJobs } from "./data";
import { RANGE_MS, type Range } from "./search";
import { Timeline } from "./timeline/Timeline";

interface TimelinePanelProps {
  range: Range;
  internal: boolean;
  selected: string | null;
  onSelect: (id: string) => void;
  onJob: (job: string) => void;
  onInternal: (on: boolean) => void;
}

export function TimelinePanel(props: TimelinePanelProps) {
  const jobs = useJobs();
  return (
    <Panel
      title="Iterations"
      note="each bar runs from START to END"
      actions={
        <Segments
          label="Jobs shown"
          value={props.internal ? "all" : "domain"}
          options={[
            { value: "domain", label: "Product jobs" },
            { value: "all", label: "All" },
          ]}
          onChange={(value) => props.onInternal(value === "all")}
        />
      }
    >
      <Loaded query={jobs} rows={7}>
        {(all) => <Lanes {...props} jobs={all.filter((job) => props.internal || !job.internal)} />}
      </Loaded>
    </Panel>
  );
}

const NO_SLOTS: readonly Slot[] = [];

function Lanes({ jobs, range, selected, onSelect, onJob }: TimelinePanelProps & { jobs: Job[] }) {
  const queries = useQueries({
    queries: jobs.map((job) => ({
      queryKey: laneKey(job.name, range),
      queryFn: ({ signal }: { signal: AbortSignal }) => fetchLane(job.name, range, signal),
      // The live channel keeps it fresh; a lost place invalidates it.
      staleTime: 5 * 60_000,
    })),
  });
  const skips = useQuery({
    queryKey: skipsKey(range),
    queryFn: ({ signal }) => fetchSkips(range, signal),
    staleTime: 5 * 60_000,
  });
  const lanes = useMemo(
    () => jobs.map((job, index) => ({ job, lane: queries[index]?.data })),
    [jobs, queries],
  );
  if (jobs.length === 0) return <Empty>The catalog has no jobs.</Empty>;
  const failed = queries.find((query) => query.error !== null && query.data === undefined);
  if (failed !== undefined) {
    const retry = () => queries.forEach((query) => void (query.error !== null && query.refetch()));
    return <ProblemPanel error={failed.error} onRetry={retry} />;
  }
  if (queries.every((query) => query.data === undefined)) return <Skeleton rows={jobs.length} />;
  return (
    <Timeline
      lanes={lanes}
      skips={skips.data ?? NO_SLOTS}
      rangeMs={RANGE_MS[range]}
      selected={selected}
      onSelect={onSelect}
      onJob={onJob}
    />
  );
}
