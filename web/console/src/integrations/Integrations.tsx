import { useState } from "react";
import { useMay } from "@/app/useUser";
import type { Integration } from "@/http/model";
import { Empty, Loaded, Panel } from "@/ui/Panel";
import stacked from "@/ui/Stacked.module.css";
import { Table } from "@/ui/Table";
import { useNow } from "@/ui/useNow";
import { useIntegrations, useLiveIntegrations } from "./data";
import { ForceDialog } from "./ForceDialog";
import styles from "./Integrations.module.css";
import { ReleaseDialog } from "./ReleaseDialog";
import { Row } from "./Row";

const COLUMNS = [
  "Integration",
  "State",
  "Breaker",
  "Last success",
  "Last failure",
  "Guard",
] as const;

export type Act = "force" | "release";

export function Integrations() {
  const [open, setOpen] = useState<{ act: Act; name: string } | null>(null);
  const mayTest = useMay("operator");
  const mayForce = useMay("admin");
  const query = useIntegrations();
  useLiveIntegrations();
  const close = () => setOpen(null);
  const act = mayForce ? (act: Act, name: string) => setOpen({ act, name }) : null;
  return (
    <>
      <Panel title="Integrations" note="what this install talks to outside, live">
        <Loaded query={query} rows={6}>
          {({ items, readAt }) => (
            <Rows items={items} readAt={readAt} mayTest={mayTest} onAct={act} />
          )}
        </Loaded>
      </Panel>
      {open?.act === "force" && <ForceDialog name={open.name} onClose={close} />}
      {open?.act === "release" && <ReleaseDialog name={open.name} onClose={close} />}
    </>
  );
}

interface RowsProps {
  items: readonly Integration[];
  readAt: number;
  mayTest: boolean;
  onAct: ((act: Act, name: string) => void) | null;
}

function Rows({ items, readAt, mayTest, onAct }: RowsProps) {
  const now = useNow();
  if (items.length === 0) return <Empty>Nothing outside is known to this install.</Empty>;
  return (
    <Table
      name="integrations"
      columns={COLUMNS}
      unseenColumn={mayTest ? "Actions" : null}
      className={`${stacked.table} ${styles.table}`}
    >
      {items.map((one) => (
        <Row
          key={one.name}
          integration={one}
          now={now}
          readAt={readAt}
          mayTest={mayTest}
          onAct={onAct}
        />
      ))}
    </Table>
  );
}
