import { useMutation } from "@tanstack/react-query";
import type { Breaker, Integration } from "@/http/model";
import { Button } from "@/ui/Button";
import { Chip, type ChipLook } from "@/ui/Chip";
import { newKey } from "@/ui/newKey";
import stacked from "@/ui/Stacked.module.css";
import { Sub } from "@/ui/Sub";
import { duration, relative, utc } from "@/ui/time";
import { testIntegration } from "./data";
import type { Act } from "./Integrations";
import styles from "./Integrations.module.css";
import { breakerLines, breakerLook, breakerWord, guardLines, kindOf, stateLook } from "./look";

interface RowProps {
  integration: Integration;
  now: number;
  readAt: number;
  mayTest: boolean;
  onAct: ((act: Act, name: string) => void) | null;
}

const Nothing = () => <span className="muted">–</span>;

export function Row({ integration, now, readAt, mayTest, onAct }: RowProps) {
  const { name, kind, breaker, last_ok_at, last_error } = integration;
  return (
    <tr>
      <th scope="row">
        <span className={stacked.name}>{name}</span>
        <Sub>{kindOf(kind)}</Sub>
      </th>
      <td data-label="State">
        <Chip look={stateLook(integration)} />
      </td>
      <td data-label="Breaker">
        {breaker === null ? <Sub>none: it is never called</Sub> : null}
        {breaker !== null && <BreakerState breaker={breaker} readAgoMs={now - readAt} />}
      </td>
      <td data-label="Last success">
        {last_ok_at === null ? (
          <span className="muted">none yet</span>
        ) : (
          <span title={utc(last_ok_at)}>{relative(last_ok_at, now)}</span>
        )}
      </td>
      <td data-label="Last failure">
        {last_error === null ? <Nothing /> : <Sub>{last_error}</Sub>}
      </td>
      <td data-label="Guard">{breaker === null ? <Nothing /> : <Guard breaker={breaker} />}</td>
      {mayTest && (
        <td>
          <Actions integration={integration} onAct={onAct} />
        </td>
      )}
    </tr>
  );
}

function BreakerState({ breaker, readAgoMs }: { breaker: Breaker; readAgoMs: number }) {
  return (
    <>
      <Chip look={breakerLook(breaker)} />
      {breakerLines(breaker, readAgoMs).map((line) => (
        <Sub key={line}>{line}</Sub>
      ))}
      {breaker.nodes?.map((node) => (
        <Sub key={node.name}>
          <span className="mono">{node.name}</span> {breakerWord(node.state)}
        </Sub>
      ))}
    </>
  );
}

function Guard({ breaker }: { breaker: Breaker }) {
  const lines = guardLines(breaker);
  if (lines.length === 0) return <span className="muted">held nothing back</span>;
  return lines.map((line) => <Sub key={line}>{line}</Sub>);
}

interface ActionsProps {
  integration: Integration;
  onAct: RowProps["onAct"];
}

function Actions({ integration, onAct }: ActionsProps) {
  const { name, breaker, configured } = integration;
  // Each press is a question of its own: with the key of the last one its answer would come again.
  const test = useMutation({ mutationFn: () => testIntegration(name, newKey()) });
  return (
    <>
      <div className={stacked.actions}>
        <Button
          small
          aria-label={`Test ${name}`}
          disabled={!configured || test.isPending}
          title={configured ? "One real call, without effects" : "It is not set up"}
          onClick={() => test.mutate()}
        >
          {test.isPending ? "Testing…" : "Test"}
        </Button>
        {onAct !== null && breaker !== null && breaker.forced === null && (
          <Button small aria-label={`Force ${name}`} onClick={() => onAct("force", name)}>
            Force
          </Button>
        )}
        {onAct !== null && breaker !== null && breaker.forced !== null && (
          <Button small aria-label={`Release ${name}`} onClick={() => onAct("release", name)}>
            Release
          </Button>
        )}
      </div>
      <div role="status" className={styles.tested}>
        {test.data !== undefined && !test.isPending && (
          <>
            <Chip look={test.data.ok ? WORKS : FAILS} /> <span>{duration(test.data.took_ms)}</span>
            <Sub>{test.data.detail}</Sub>
          </>
        )}
        {test.error !== null && <Sub>{test.error.message}</Sub>}
      </div>
    </>
  );
}

const WORKS: ChipLook = { tone: "ok", icon: "check", word: "works" };
const FAILS: ChipLook = { tone: "bad", icon: "cross", word: "fails" };
