import { useMutation, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import type { ScheduledJob } from "@/http/model";
import { Button } from "@/ui/Button";
import { Dialog, DialogBody, DialogFoot } from "@/ui/Dialog";
import { newKey } from "@/ui/newKey";
import { ProblemPanel } from "@/ui/Panel";
import { rereadJobs, resumeSchedule } from "./data";

export function ResumeDialog({ job, onClose }: { job: ScheduledJob; onClose: () => void }) {
  const client = useQueryClient();
  const [key] = useState(newKey);
  const mutation = useMutation({
    mutationFn: () => resumeSchedule(job.name, key),
    onSuccess: () => {
      rereadJobs(client);
      onClose();
    },
  });
  const submit = (event: FormEvent): void => {
    event.preventDefault();
    mutation.mutate();
  };
  return (
    <Dialog title={`Resume ${job.name}`} onClose={onClose}>
      <form onSubmit={submit}>
        <DialogBody>
          {job.schedule?.paused && (
            <p>
              It is due again as its schedule says. What fell due meanwhile is recorded as one
              skipped slot with its count; it is not made up for.
            </p>
          )}
          {job.quarantine.length > 0 && (
            <p>
              It was put in quarantine because it {job.quarantine[0]?.reason}. Resuming lets it
              start again.
            </p>
          )}
          {mutation.error !== null && <ProblemPanel error={mutation.error} />}
        </DialogBody>
        <DialogFoot>
          <Button onClick={onClose}>Back</Button>
          <Button type="submit" tone="primary" icon="play" disabled={mutation.isPending}>
            {mutation.isPending ? "Sending…" : "Resume"}
          </Button>
        </DialogFoot>
      </form>
    </Dialog>
  );
}
