import { useMutation, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useEffect, useState } from "react";
import type { Schedule } from "@/http/model";
import { Button, Segments } from "@/ui/Button";
import { Dialog, DialogBody, DialogFoot, Field } from "@/ui/Dialog";
import { errorsOf, Rest } from "@/ui/errors";
import { DuePreview } from "./DuePreview";
import { editSchedule, rereadJobs, usePreview } from "./data";
import {
  changeOf,
  type Form,
  formOf,
  inUnit,
  previewOf,
  secondsOf,
  UNITS,
  type Unit,
} from "./rhythm";
import styles from "./Schedules.module.css";

const FIELDS = ["every_s", "cron", "timezone"];
const TYPING_MS = 300;

export function EditDialog({ schedule, onClose }: { schedule: Schedule; onClose: () => void }) {
  const client = useQueryClient();
  // What stood when the dialog was opened: the row goes on changing underneath.
  const [before] = useState(schedule);
  const [form, setForm] = useState(() => formOf(before));
  const mutation = useMutation({
    mutationFn: () => editSchedule(before.job, changeOf(form, before)),
    onSuccess: () => {
      rereadJobs(client);
      onClose();
    },
  });
  const asked = useLater(previewOf(form));
  const preview = usePreview(before.job, asked);
  const set = (next: Partial<Form>): void => {
    setForm({ ...form, ...next });
    mutation.reset();
  };
  const errors = { ...errorsOf(preview.error), ...errorsOf(mutation.error) };
  const nothing = Object.keys(changeOf(form, before)).length === 0;
  const unsaid = form.mode === "every" ? secondsOf(form) === null : form.cron.trim() === "";
  const submit = (event: FormEvent): void => {
    event.preventDefault();
    mutation.mutate();
  };
  return (
    <Dialog title={`When ${before.job} is due`} onClose={onClose}>
      <form onSubmit={submit}>
        <DialogBody>
          <div>
            <Segments
              label="Kind"
              value={form.mode}
              options={[
                { value: "every", label: "Every so often" },
                { value: "cron", label: "At set times (cron)" },
              ]}
              onChange={(mode) => set({ mode })}
            />
          </div>
          {form.mode === "every" ? (
            <Every form={form} schedule={before} error={errors.every_s} onChange={set} />
          ) : (
            <Field
              label="Cron expression"
              hint="Minute, hour, day of the month, month, weekday: 0 3 * * 1-5"
              error={errors.cron}
            >
              {(attributes) => (
                <input
                  {...attributes}
                  className={`${attributes.className} mono`}
                  value={form.cron}
                  autoComplete="off"
                  spellCheck={false}
                  onChange={(event) => set({ cron: event.target.value })}
                />
              )}
            </Field>
          )}
          <Zone form={form} error={errors.timezone} onChange={set} />
          <label className={styles.check}>
            <input
              type="checkbox"
              checked={form.enabled}
              onChange={(event) => set({ enabled: event.target.checked })}
            />
            Enabled: without it the job is never due, and runs on request only
          </label>
          {form.enabled && (
            <DuePreview
              preview={preview.error === null ? preview.data : undefined}
              stale={preview.isFetching}
              failed={preview.error}
              shown={FIELDS}
            />
          )}
          <Rest error={mutation.error} shown={FIELDS} />
        </DialogBody>
        <DialogFoot>
          <Button onClick={onClose}>Back</Button>
          <Button type="submit" tone="primary" disabled={mutation.isPending || nothing || unsaid}>
            {mutation.isPending ? "Sending…" : "Save"}
          </Button>
        </DialogFoot>
      </form>
    </Dialog>
  );
}

interface PartProps {
  form: Form;
  error: string | undefined;
  onChange: (next: Partial<Form>) => void;
}

function Every({ form, schedule, error, onChange }: PartProps & { schedule: Schedule }) {
  const { default_every_s: standard } = schedule;
  const isStandard = secondsOf(form) === standard;
  return (
    <>
      <div className={styles.row}>
        <Field label="Every" error={error}>
          {(attributes) => (
            <input
              {...attributes}
              inputMode="decimal"
              value={form.amount}
              autoComplete="off"
              onChange={(event) => onChange({ amount: event.target.value })}
            />
          )}
        </Field>
        <Field label="Unit">
          {(attributes) => (
            <select
              {...attributes}
              value={form.unit}
              onChange={(event) => onChange({ unit: event.target.value as Unit })}
            >
              {Object.keys(UNITS).map((unit) => (
                <option key={unit}>{unit}</option>
              ))}
            </select>
          )}
        </Field>
      </div>
      {standard !== null && !isStandard && (
        <div>
          <Button small onClick={() => onChange(inUnit(standard))}>
            Back to the catalog's {standard} s
          </Button>
        </div>
      )}
    </>
  );
}

const ZONES = ["UTC", ...Intl.supportedValuesOf("timeZone").filter((zone) => zone !== "UTC")];

function Zone({ form, error, onChange }: PartProps) {
  return (
    <Field
      label="Time zone"
      hint={
        form.mode === "every" ? "A period does not depend on it." : "Daylight saving follows it."
      }
      error={error}
    >
      {(attributes) => (
        <>
          <input
            {...attributes}
            list="time-zones"
            value={form.timezone}
            autoComplete="off"
            spellCheck={false}
            onChange={(event) => onChange({ timezone: event.target.value })}
          />
          <datalist id="time-zones">
            {ZONES.map((zone) => (
              <option key={zone} value={zone} />
            ))}
          </datalist>
        </>
      )}
    </Field>
  );
}

type Asked = ReturnType<typeof previewOf>;

/** The value as it stands when nobody has typed for a moment. */
function useLater(value: Asked): Asked {
  const text = JSON.stringify(value);
  const [later, setLater] = useState(text);
  useEffect(() => {
    const id = window.setTimeout(() => setLater(text), TYPING_MS);
    return () => window.clearTimeout(id);
  }, [text]);
  return JSON.parse(later) as Asked;
}
