import { useState } from "react";
import { useMay } from "@/app/useUser";
import type { ApiKey } from "@/http/model";
import { Button } from "@/ui/Button";
import { Chip, type ChipLook } from "@/ui/Chip";
import { Pages } from "@/ui/Pages";
import { Empty, Panel } from "@/ui/Panel";
import stacked from "@/ui/Stacked.module.css";
import { Sub } from "@/ui/Sub";
import { Table } from "@/ui/Table";
import { relative, utc } from "@/ui/time";
import { useNow } from "@/ui/useNow";
import { useKeys } from "./data";
import styles from "./Keys.module.css";
import { MakeDialog } from "./MakeDialog";
import { RevokeDialog } from "./RevokeDialog";

const COLUMNS = ["Key", "Role", "State", "Made", "Last used"] as const;

export function Keys() {
  const [making, setMaking] = useState(false);
  const [revoking, setRevoking] = useState<ApiKey | null>(null);
  const mayChange = useMay("admin");
  const query = useKeys();
  const make = mayChange && (
    <Button tone="primary" icon="plus" onClick={() => setMaking(true)}>
      New key
    </Button>
  );
  return (
    <>
      <Panel title="API keys" note="for programs that call the API, newest first" actions={make}>
        <Pages query={query} empty={<Empty>No program has a key yet.</Empty>} more="Load older">
          {(keys) => <Rows keys={keys} onRevoke={mayChange ? setRevoking : null} />}
        </Pages>
        <p className={styles.note}>
          The keys that tokens are signed with are another matter: <code>tenure keys list</code> and{" "}
          <code>tenure keys rotate</code>, on the server.
        </p>
      </Panel>
      {making && <MakeDialog onClose={() => setMaking(false)} />}
      {revoking !== null && <RevokeDialog apiKey={revoking} onClose={() => setRevoking(null)} />}
    </>
  );
}

const IN_USE: ChipLook = { tone: "ok", icon: "check", word: "in use" };
const UNUSED: ChipLook = { tone: "calm", icon: "dash", word: "never used" };
const REVOKED: ChipLook = { tone: "bad", icon: "cross", word: "revoked" };

function lookOf(key: ApiKey): ChipLook {
  if (key.revoked_at !== null) return REVOKED;
  return key.last_used_at === null ? UNUSED : IN_USE;
}

interface RowsProps {
  keys: readonly ApiKey[];
  onRevoke: ((key: ApiKey) => void) | null;
}

function Rows({ keys, onRevoke }: RowsProps) {
  const now = useNow(5_000);
  return (
    <Table
      name="api-keys"
      columns={COLUMNS}
      unseenColumn={onRevoke === null ? null : "Actions"}
      className={stacked.table}
    >
      {keys.map((key) => (
        <tr key={key.id}>
          <th scope="row">
            <span className={stacked.name}>{key.name}</span>
            <Sub>
              <span className="mono">{key.prefix}…</span>
            </Sub>
          </th>
          <td data-label="Role">{key.role}</td>
          <td data-label="State">
            <Chip look={lookOf(key)} />
            {key.revoked_at !== null && (
              <Sub title={utc(key.revoked_at)}>{relative(key.revoked_at, now)}</Sub>
            )}
          </td>
          <td data-label="Made">
            <span title={utc(key.created_at)}>{relative(key.created_at, now)}</span>
            <Sub>by {key.created_by_name}</Sub>
          </td>
          <td data-label="Last used">
            {key.last_used_at === null ? (
              <span className="muted">never</span>
            ) : (
              <span title={utc(key.last_used_at)}>{relative(key.last_used_at, now)}</span>
            )}
          </td>
          {onRevoke !== null && (
            <td>
              <div className={stacked.actions}>
                {key.revoked_at === null && (
                  <Button small aria-label={`Revoke ${key.name}`} onClick={() => onRevoke(key)}>
                    Revoke
                  </Button>
                )}
              </div>
            </td>
          )}
        </tr>
      ))}
    </Table>
  );
}
