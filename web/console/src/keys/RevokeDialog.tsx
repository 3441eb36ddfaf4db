import type { ApiKey } from "@/http/model";
import { ConfirmDialog } from "@/ui/ConfirmDialog";
import { KEYS, revokeKey } from "./data";

export function RevokeDialog({ apiKey, onClose }: { apiKey: ApiKey; onClose: () => void }) {
  return (
    <ConfirmDialog
      title={`Revoke the key of ${apiKey.name}`}
      verb="Revoke"
      icon="cross"
      tone="danger"
      act={() => revokeKey(apiKey.id)}
      reread={(client) => void client.invalidateQueries({ queryKey: KEYS })}
      onClose={onClose}
    >
      <p>
        The program that holds <span className="mono">{apiKey.prefix}…</span> is refused from now
        on, and its live connections end. There is no way back; make a new key instead.
      </p>
    </ConfirmDialog>
  );
}
