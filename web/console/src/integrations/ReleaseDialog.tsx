import { useMutation, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { Button } from "@/ui/Button";
import { Dialog, DialogBody, DialogFoot } from "@/ui/Dialog";
import { newKey } from "@/ui/newKey";
import { ProblemPanel } from "@/ui/Panel";
import { INTEGRATIONS, releaseBreaker } from "./data";

export function ReleaseDialog({ name, onClose }: { name: string; onClose: () => void }) {
  const client = useQueryClient();
  const [key] = useState(newKey);
  const mutation = useMutation({
    mutationFn: () => releaseBreaker(name, key),
    onSuccess: () => {
      void client.invalidateQueries({ queryKey: INTEGRATIONS });
      onClose();
    },
  });
  const submit = (event: FormEvent): void => {
    event.preventDefault();
    mutation.mutate();
  };
  return (
    <Dialog title={`Release the breaker of ${name}`} onClose={onClose}>
      <form onSubmit={submit}>
        <DialogBody>
          <p>It is left to itself again: open while too many calls fail, closed while they work.</p>
          {mutation.error !== null && <ProblemPanel error={mutation.error} />}
        </DialogBody>
        <DialogFoot>
          <Button onClick={onClose}>Back</Button>
          <Button type="submit" tone="primary" icon="power" disabled={mutation.isPending}>
            {mutation.isPending ? "Sending…" : "Release"}
          </Button>
        </DialogFoot>
      </form>
    </Dialog>
  );
}
