import { useMutation, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { Button } from "@/ui/Button";
import { Dialog, DialogBody, DialogFoot, Field } from "@/ui/Dialog";
import { errorsOf, Rest } from "@/ui/errors";
import { newKey } from "@/ui/newKey";
import { type Forcing, forceBreaker, INTEGRATIONS } from "./data";

const SPANS = [
  { for_s: 600, label: "10 minutes" },
  { for_s: 3_600, label: "1 hour" },
  { for_s: 28_800, label: "8 hours" },
  { for_s: 86_400, label: "1 day" },
  { for_s: 604_800, label: "7 days" },
] as const;

export function ForceDialog({ name, onClose }: { name: string; onClose: () => void }) {
  const client = useQueryClient();
  const [forcing, setForcing] = useState<Forcing>({ state: "open", for_s: 3_600, reason: "" });
  // The key belongs to what is asked: the same again repeats, something else is a new request.
  const [key, setKey] = useState(newKey);
  const change = (part: Partial<Forcing>) => {
    setForcing({ ...forcing, ...part });
    setKey(newKey());
  };
  const mutation = useMutation({
    mutationFn: () => forceBreaker(name, { ...forcing, reason: forcing.reason.trim() }, key),
    onSuccess: () => {
      void client.invalidateQueries({ queryKey: INTEGRATIONS });
      onClose();
    },
  });
  const errors = errorsOf(mutation.error);
  const submit = (event: FormEvent): void => {
    event.preventDefault();
    mutation.mutate();
  };
  return (
    <Dialog title={`Force the breaker of ${name}`} onClose={onClose}>
      <form onSubmit={submit}>
        <DialogBody>
          <Field
            label="Breaker"
            hint="All processes follow within a few seconds."
            error={errors.state}
          >
            {(attributes) => (
              <select
                {...attributes}
                value={forcing.state}
                onChange={(event) => change({ state: event.target.value as Forcing["state"] })}
              >
                <option value="open">Open: nobody is called, the work waits</option>
                <option value="closed">Closed: it is called whatever happens</option>
              </select>
            )}
          </Field>
          <Field label="How long" hint="Then it is left to itself again." error={errors.for_s}>
            {(attributes) => (
              <select
                {...attributes}
                value={forcing.for_s}
                onChange={(event) => change({ for_s: Number(event.target.value) })}
              >
                {SPANS.map((one) => (
                  <option key={one.for_s} value={one.for_s}>
                    {one.label}
                  </option>
                ))}
              </select>
            )}
          </Field>
          <Field
            label="Reason"
            hint="Everybody sees it here; kept in the audit log."
            error={errors.reason}
          >
            {(attributes) => (
              <textarea
                {...attributes}
                required
                maxLength={300}
                value={forcing.reason}
                onChange={(event) => change({ reason: event.target.value })}
              />
            )}
          </Field>
          <Rest error={mutation.error} shown={["state", "for_s", "reason"]} />
        </DialogBody>
        <DialogFoot>
          <Button onClick={onClose}>Back</Button>
          <Button
            type="submit"
            tone="primary"
            icon="lock"
            disabled={mutation.isPending || forcing.reason.trim() === ""}
          >
            {mutation.isPending ? "Sending…" : "Force"}
          </Button>
        </DialogFoot>
      </form>
    </Dialog>
  );
}
