import { useState } from "react";
import type { ScheduledJob } from "@/http/model";
import { ConfirmDialog } from "@/ui/ConfirmDialog";
import { newKey } from "@/ui/newKey";
import { rereadJobs, resumeSchedule } from "./data";

export function ResumeDialog({ job, onClose }: { job: ScheduledJob; onClose: () => void }) {
  const [key] = useState(newKey);
  return (
    <ConfirmDialog
      title={`Resume ${job.name}`}
      verb="Resume"
      icon="play"
      act={() => resumeSchedule(job.name, key)}
      reread={rereadJobs}
      onClose={onClose}
    >
      {job.schedule?.paused && (
        <p>
          It is due again as its schedule says. What fell due meanwhile is recorded as one skipped
          slot with its count; it is not made up for.
        </p>
      )}
      {job.quarantine.length > 0 && (
        <p>
          It was put in quarantine because it {job.quarantine[0]?.reason}. Resuming lets it start
          again.
        </p>
      )}
    </ConfirmDialog>
  );
}
