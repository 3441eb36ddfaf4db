import { live, session } from "@/app/services";
import { Icon } from "@/ui/Icon";
import { useNow } from "@/ui/useNow";
import styles from "./Indicator.module.css";
import { type Look, lookOf } from "./look";
import { useLive } from "./useLive";

const ACTS: Record<NonNullable<Look["action"]>["act"], () => void> = {
  connect: () => live.connect(),
  sign_in: () => session.forget(true),
};

export function Indicator() {
  const snapshot = useLive();
  useNow();
  const look = lookOf(snapshot, live.timers.now());
  return (
    <div className={styles.indicator} data-testid="connection" data-state={snapshot.state}>
      <span className={`${styles.sign} ${styles[look.tone]}`}>
        <Icon name={look.icon} size={14} />
      </span>
      <span className={styles.words} title={look.title}>
        {/* Only the state is announced, not each second of the countdown. */}
        <span role="status">{look.words}</span>
        {look.detail !== undefined && <span className={styles.rtt}> · {look.detail}</span>}
        {snapshot.waiting > 0 && <span className={styles.rtt}> · {snapshot.waiting} waiting</span>}
      </span>
      {snapshot.waiting > 0 && snapshot.state !== "OPEN" && (
        <button
          type="button"
          className={styles.action}
          title="Forget the runs that wait for the connection"
          onClick={() => live.discardWaiting()}
        >
          Discard
        </button>
      )}
      {look.action !== undefined && (
        <button type="button" className={styles.action} onClick={ACTS[look.action.act]}>
          {look.action.label}
        </button>
      )}
    </div>
  );
}
