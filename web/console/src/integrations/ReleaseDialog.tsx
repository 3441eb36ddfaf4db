import { useState } from "react";
import { ConfirmDialog } from "@/ui/ConfirmDialog";
import { newKey } from "@/ui/newKey";
import { INTEGRATIONS, releaseBreaker } from "./data";

export function ReleaseDialog({ name, onClose }: { name: string; onClose: () => void }) {
  const [key] = useState(newKey);
  return (
    <ConfirmDialog
      title={`Release the breaker of ${name}`}
      verb="Release"
      icon="power"
      act={() => releaseBreaker(name, key)}
      reread={(client) => void client.invalidateQueries({ queryKey: INTEGRATIONS })}
      onClose={onClose}
    >
      <p>It is left to itself again: open while too many calls fail, closed while they work.</p>
    </ConfirmDialog>
  );
}
