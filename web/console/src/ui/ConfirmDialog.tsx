import { type QueryClient, useMutation, useQueryClient } from "@tanstack/react-query";
import type { ComponentProps, FormEvent, ReactNode } from "react";
import { Button } from "./Button";
import { Dialog, DialogBody, DialogFoot } from "./Dialog";
import { ProblemPanel } from "./Panel";

type Look = ComponentProps<typeof Button>;

interface Props {
  title: string;
  /** What the button says, and how it looks. */
  verb: string;
  icon: NonNullable<Look["icon"]>;
  tone?: NonNullable<Look["tone"]>;
  act: () => Promise<unknown>;
  /** What shows the result is read again. */
  reread: (client: QueryClient) => void;
  onClose: () => void;
  children: ReactNode;
}

/** One act without further questions: says what it will do, does it once, and shows a refusal in place. */
export function ConfirmDialog({
  title,
  verb,
  icon,
  tone = "primary",
  act,
  reread,
  onClose,
  children,
}: Props) {
  const client = useQueryClient();
  const mutation = useMutation({
    mutationFn: act,
    onSuccess: () => {
      reread(client);
      onClose();
    },
  });
  const submit = (event: FormEvent): void => {
    event.preventDefault();
    mutation.mutate();
  };
  return (
    <Dialog title={title} onClose={onClose}>
      <form onSubmit={submit}>
        <DialogBody>
          {children}
          {mutation.error !== null && <ProblemPanel error={mutation.error} />}
        </DialogBody>
        <DialogFoot>
          <Button onClick={onClose}>Back</Button>
          <Button type="submit" tone={tone} icon={icon} disabled={mutation.isPending}>
            {mutation.isPending ? "Sending…" : verb}
          </Button>
        </DialogFoot>
      </form>
    </Dialog>
  );
}
