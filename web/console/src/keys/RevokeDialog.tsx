import { useMutation, useQueryClient } from "@tanstack/react-query";
import type { FormEvent } from "react";
import type { ApiKey } from "@/http/model";
import { Button } from "@/ui/Button";
import { Dialog, DialogBody, DialogFoot } from "@/ui/Dialog";
import { ProblemPanel } from "@/ui/Panel";
import { KEYS, revokeKey } from "./data";

export function RevokeDialog({ apiKey, onClose }: { apiKey: ApiKey; onClose: () => void }) {
  const client = useQueryClient();
  const mutation = useMutation({
    mutationFn: () => revokeKey(apiKey.id),
    onSuccess: () => {
      void client.invalidateQueries({ queryKey: KEYS });
      onClose();
    },
  });
  const submit = (event: FormEvent): void => {
    event.preventDefault();
    mutation.mutate();
  };
  return (
    <Dialog title={`Revoke the key of ${apiKey.name}`} onClose={onClose}>
      <form onSubmit={submit}>
        <DialogBody>
          <p>
            The program that holds <span className="mono">{apiKey.prefix}…</span> is refused from
            now on, and its live connections end. There is no way back; make a new key instead.
          </p>
          {mutation.error !== null && <ProblemPanel error={mutation.error} />}
        </DialogBody>
        <DialogFoot>
          <Button onClick={onClose}>Back</Button>
          <Button type="submit" tone="danger" icon="cross" disabled={mutation.isPending}>
            {mutation.isPending ? "Sending…" : "Revoke"}
          </Button>
        </DialogFoot>
      </form>
    </Dialog>
  );
}
