import { useMutation, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import type { Role } from "@/session/session";
import { Button } from "@/ui/Button";
import { Copyable } from "@/ui/Copyable";
import { Dialog, DialogBody, DialogFoot, Field } from "@/ui/Dialog";
import { errorsOf, Rest } from "@/ui/errors";
import { newKey } from "@/ui/newKey";
import { KEYS, makeKey } from "./data";
import styles from "./Keys.module.css";

const ROLES: readonly { value: Role; label: string }[] = [
  { value: "viewer", label: "viewer: reads everything but the audit log" },
  { value: "operator", label: "operator: and acts on customers, subscriptions and jobs" },
  { value: "admin", label: "admin: and on plans, users, keys and breakers" },
];

/** The key is in this dialog and nowhere else: closing it is the last that anybody sees of it. */
export function MakeDialog({ onClose }: { onClose: () => void }) {
  const client = useQueryClient();
  const [name, setName] = useState("");
  const [role, setRole] = useState<Role>("viewer");
  const [key, setKey] = useState(newKey);
  const change = (apply: () => void) => {
    apply();
    setKey(newKey());
  };
  const mutation = useMutation({
    mutationFn: () => makeKey(name.trim(), role, key),
    onSuccess: () => void client.invalidateQueries({ queryKey: KEYS }),
    // The cache would keep the key for minutes after the dialog is gone.
    gcTime: 0,
  });
  if (mutation.data !== undefined) return <Made made={mutation.data} onClose={onClose} />;
  const errors = errorsOf(mutation.error);
  const submit = (event: FormEvent): void => {
    event.preventDefault();
    mutation.mutate();
  };
  return (
    <Dialog title="New API key" onClose={onClose}>
      <form onSubmit={submit}>
        <DialogBody>
          <Field label="Name" hint="What the program is called." error={errors.name}>
            {(attributes) => (
              <input
                {...attributes}
                required
                maxLength={100}
                value={name}
                onChange={(event) => change(() => setName(event.target.value))}
              />
            )}
          </Field>
          <Field label="Role" hint="No more than the program needs." error={errors.role}>
            {(attributes) => (
              <select
                {...attributes}
                value={role}
                onChange={(event) => change(() => setRole(event.target.value as Role))}
              >
                {ROLES.map((one) => (
                  <option key={one.value} value={one.value}>
                    {one.label}
                  </option>
                ))}
              </select>
            )}
          </Field>
          <Rest error={mutation.error} shown={["name", "role"]} />
        </DialogBody>
        <DialogFoot>
          <Button onClick={onClose}>Back</Button>
          <Button
            type="submit"
            tone="primary"
            icon="key"
            disabled={mutation.isPending || name.trim() === ""}
          >
            {mutation.isPending ? "Sending…" : "Make the key"}
          </Button>
        </DialogFoot>
      </form>
    </Dialog>
  );
}

function Made({ made, onClose }: { made: { name: string; key: string }; onClose: () => void }) {
  return (
    <Dialog title={`The key of ${made.name}`} onClose={onClose}>
      <DialogBody>
        <p>It is shown this once and kept nowhere. Copy it to where the program finds it.</p>
        <div className={styles.secret} data-testid="made-key">
          <Copyable text={made.key} />
        </div>
      </DialogBody>
      <DialogFoot>
        <Button tone="primary" onClick={onClose}>
          Done
        </Button>
      </DialogFoot>
    </Dialog>
  );
}
