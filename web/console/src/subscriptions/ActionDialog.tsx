import { useMutation, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { api } from "@/app/services";
import type { Subscription } from "@/http/model";
import { isProblem } from "@/http/problem";
import { Button } from "@/ui/Button";
import { Dialog, DialogBody, DialogFoot, Field } from "@/ui/Dialog";
import { newKey } from "@/ui/newKey";
import { ProblemPanel } from "@/ui/Panel";
import { type ACTIONS, type ActionInput, bodyOf } from "./actions";
import { rereadSubscription, subscriptionPath } from "./data";

interface ActionDialogProps {
  action: (typeof ACTIONS)[number];
  subscription: Subscription;
  onClose: () => void;
}

export function ActionDialog({ action, subscription, onClose }: ActionDialogProps) {
  const client = useQueryClient();
  const [input, setInput] = useState<ActionInput>({ reason: "", hours: 24, atPeriodEnd: true });
  // The key belongs to what is asked: the same again repeats, something else is a new request.
  const [key, setKey] = useState(newKey);
  const change = (next: Partial<ActionInput>): void => {
    setInput({ ...input, ...next });
    setKey(newKey());
  };
  const { id } = subscription;
  const mutation = useMutation({
    mutationFn: () =>
      api.post(subscriptionPath(id, `/${action.name}`), bodyOf(action.name, input), key),
    onSuccess: () => {
      rereadSubscription(client, id);
      void client.invalidateQueries({ queryKey: ["subscriptions"] });
      onClose();
    },
  });
  const fields = isProblem(mutation.error) ? mutation.error.fields : [];
  const errorOf = (field: string) => fields.find((one) => one.field === field)?.message;
  const submit = (event: FormEvent): void => {
    event.preventDefault();
    mutation.mutate();
  };
  const ready = !action.needsReason || input.reason.trim() !== "";
  return (
    <Dialog title={`${action.label}: ${id}`} onClose={onClose}>
      <form onSubmit={submit}>
        <DialogBody>
          <p>{action.says}</p>
          {action.name === "cancel" && <When input={input} onChange={change} />}
          {action.name === "extend" && (
            <Field label="Hours" error={errorOf("hours")}>
              {(attributes) => (
                <input
                  {...attributes}
                  type="number"
                  min={1}
                  step={1}
                  required
                  value={input.hours}
                  onChange={(event) => change({ hours: event.target.valueAsNumber })}
                />
              )}
            </Field>
          )}
          {action.needsReason && (
            <Field label="Reason" hint="Kept in the audit log." error={errorOf("reason")}>
              {(attributes) => (
                <textarea
                  {...attributes}
                  required
                  maxLength={500}
                  value={input.reason}
                  onChange={(event) => change({ reason: event.target.value })}
                />
              )}
            </Field>
          )}
          {mutation.error !== null && <ProblemPanel error={mutation.error} />}
        </DialogBody>
        <DialogFoot>
          <Button onClick={onClose}>Back</Button>
          <Button
            type="submit"
            tone={action.danger ? "danger" : "primary"}
            disabled={mutation.isPending || !ready}
          >
            {mutation.isPending ? "Sending…" : action.label}
          </Button>
        </DialogFoot>
      </form>
    </Dialog>
  );
}

interface WhenProps {
  input: ActionInput;
  onChange: (next: Partial<ActionInput>) => void;
}

function When({ input, onChange }: WhenProps) {
  const options: [value: boolean, label: string][] = [
    [true, "At the end of the period"],
    [false, "Now"],
  ];
  return (
    <fieldset style={{ border: 0, margin: 0, padding: 0, display: "grid", gap: 6 }}>
      <legend className="visually-hidden">When</legend>
      {options.map(([value, label]) => (
        <label key={label} style={{ display: "flex", gap: 8, alignItems: "center" }}>
          <input
            type="radio"
            name="when"
            checked={input.atPeriodEnd === value}
            onChange={() => onChange({ atPeriodEnd: value })}
          />
          {label}
        </label>
      ))}
    </fieldset>
  );
}
