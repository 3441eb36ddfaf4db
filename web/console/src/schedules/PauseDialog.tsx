import { useMutation, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import type { ScheduledJob } from "@/http/model";
import { serverNow } from "@/http/serverClock";
import { Button } from "@/ui/Button";
import { Dialog, DialogBody, DialogFoot, Field } from "@/ui/Dialog";
import { errorsOf, Rest } from "@/ui/errors";
import { newKey } from "@/ui/newKey";
import { pauseSchedule, rereadJobs } from "./data";
import { SPANS, type Span, untilOf } from "./pauseUntil";

export function PauseDialog({ job, onClose }: { job: ScheduledJob; onClose: () => void }) {
  const client = useQueryClient();
  const [reason, setReason] = useState("");
  const [span, setSpan] = useState<Span>("");
  const [moment, setMoment] = useState("");
  // The key belongs to what is asked: the same again repeats, something else is a new request.
  const [key, setKey] = useState(newKey);
  const change = (apply: () => void) => {
    apply();
    setKey(newKey());
  };
  const mutation = useMutation({
    mutationFn: () =>
      pauseSchedule(job.name, reason.trim(), untilOf(span, moment, serverNow()), key),
    onSuccess: () => {
      rereadJobs(client);
      onClose();
    },
  });
  const errors = errorsOf(mutation.error);
  const ready = reason.trim() !== "" && (span !== "moment" || moment !== "");
  const submit = (event: FormEvent): void => {
    event.preventDefault();
    mutation.mutate();
  };
  return (
    <Dialog title={`Pause ${job.name}`} onClose={onClose}>
      <form onSubmit={submit}>
        <DialogBody>
          <p>
            Nothing that falls due starts until then; it is recorded as skipped, with this reason. A
            run on request still works, and what is running goes on.
          </p>
          <Field
            label="Reason"
            hint="Everybody sees it here; kept in the audit log."
            error={errors.reason}
          >
            {(attributes) => (
              <textarea
                {...attributes}
                required
                maxLength={500}
                value={reason}
                onChange={(event) => change(() => setReason(event.target.value))}
              />
            )}
          </Field>
          <Field label="How long" error={span === "moment" ? null : errors.until}>
            {(attributes) => (
              <select
                {...attributes}
                value={span}
                onChange={(event) => change(() => setSpan(event.target.value as Span))}
              >
                {SPANS.map((one) => (
                  <option key={one.value} value={one.value}>
                    {one.label}
                  </option>
                ))}
              </select>
            )}
          </Field>
          {span === "moment" && (
            <Field label="Until" hint="In this browser's time zone." error={errors.until}>
              {(attributes) => (
                <input
                  {...attributes}
                  type="datetime-local"
                  required
                  value={moment}
                  onChange={(event) => change(() => setMoment(event.target.value))}
                />
              )}
            </Field>
          )}
          <Rest error={mutation.error} shown={["reason", "until"]} />
        </DialogBody>
        <DialogFoot>
          <Button onClick={onClose}>Back</Button>
          <Button type="submit" tone="primary" icon="pause" disabled={mutation.isPending || !ready}>
            {mutation.isPending ? "Sending…" : "Pause"}
          </Button>
        </DialogFoot>
      </form>
    </Dialog>
  );
}
