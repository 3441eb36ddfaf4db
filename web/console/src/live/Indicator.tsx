import { live, session } from "@/app/services";
import { Icon, type IconName } from "@/ui/Icon";
import { useNow } from "@/ui/useNow";
import { type LiveSnapshot, QUICK_ATTEMPTS } from "./client";
import styles from "./Indicator.module.css";
import { useLive } from "./useLive";

interface Look {
  icon: IconName;
  tone: "live" | "busy" | "bad";
  words: string;
  detail?: string;
  title?: string;
  action?: { label: string; run: () => void };
}

const retry = { label: "Retry now", run: () => live.connect() };

function closedLook(snapshot: LiveSnapshot): Look {
  switch (snapshot.reason) {
    case "expired":
      return {
        icon: "key",
        tone: "bad",
        words: "Session expired",
        action: { label: "Sign in", run: () => session.forget(true) },
      };
    case "forbidden":
      return { icon: "lock", tone: "bad", words: "Not allowed" };
    case "protocol":
      return {
        icon: "offline",
        tone: "bad",
        words: "Offline",
        detail: "the server refused a message",
        action: { label: "Retry", run: () => live.connect() },
      };
    default:
      return { icon: "offline", tone: "busy", words: "Paused", action: retry };
  }
}

function waitingLook(snapshot: LiveSnapshot, inSeconds: number | null): Look {
  const detail = inSeconds === null ? "renewing the session" : `next in ${inSeconds} s`;
  if (snapshot.attempt > QUICK_ATTEMPTS) {
    return {
      icon: "offline",
      tone: "bad",
      words: "Offline",
      detail,
      action: { label: "Retry", run: () => live.connect() },
    };
  }
  const turn = `${Math.max(1, snapshot.attempt)}/${QUICK_ATTEMPTS}`;
  return { icon: "signal", tone: "busy", words: `Reconnecting ${turn}`, detail, action: retry };
}

function lookOf(snapshot: LiveSnapshot, inSeconds: number | null): Look {
  switch (snapshot.state) {
    case "OPEN":
      return {
        icon: "signal",
        tone: "live",
        words: "Live",
        ...(snapshot.rttMs !== null && { detail: `${snapshot.rttMs} ms` }),
        ...(snapshot.connectMs !== null && { title: `Connected in ${snapshot.connectMs} ms` }),
      };
    case "CONNECTING":
    case "AUTH":
      return snapshot.attempt > 0
        ? { ...waitingLook(snapshot, 0), detail: "connecting" }
        : { icon: "signal", tone: "busy", words: "Connecting" };
    case "RECONNECTING":
      return waitingLook(snapshot, inSeconds);
    default:
      return closedLook(snapshot);
  }
}

export function Indicator() {
  const snapshot = useLive();
  useNow();
  const { nextAttemptAt } = snapshot;
  const inSeconds =
    nextAttemptAt === null
      ? null
      : Math.max(0, Math.ceil((nextAttemptAt - live.timers.now()) / 1_000));
  const look = lookOf(snapshot, inSeconds);
  return (
    <div className={styles.indicator} data-testid="connection" data-state={snapshot.state}>
      <span className={styles[look.tone]} style={{ display: "inline-flex" }}>
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
        <button type="button" className={styles.action} onClick={look.action.run}>
          {look.action.label}
        </button>
      )}
    </div>
  );
}
