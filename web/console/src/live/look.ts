/** What the indicator says of a connection. Pure. */
import type { IconName } from "@/ui/Icon";
import { type LiveSnapshot, QUICK_ATTEMPTS } from "./client";

export interface Look {
  icon: IconName;
  tone: "live" | "busy" | "bad";
  /** What is announced; the rest changes each second. */
  words: string;
  detail?: string;
  title?: string;
  action?: { label: string; act: "connect" | "sign_in" };
}

const RETRY_NOW = { label: "Retry now", act: "connect" } as const;
const RETRY = { label: "Retry", act: "connect" } as const;

function closed(snapshot: LiveSnapshot): Look {
  switch (snapshot.reason) {
    case "expired":
      return {
        icon: "key",
        tone: "bad",
        words: "Session expired",
        action: { label: "Sign in", act: "sign_in" },
      };
    case "forbidden":
      return { icon: "lock", tone: "bad", words: "Not allowed" };
    case "protocol":
      return {
        icon: "offline",
        tone: "bad",
        words: "Offline",
        detail: "the server refused a message",
        action: RETRY,
      };
    default:
      return { icon: "offline", tone: "busy", words: "Paused", action: RETRY_NOW };
  }
}

function returning(snapshot: LiveSnapshot, detail: string): Look {
  if (snapshot.attempt > QUICK_ATTEMPTS) {
    return { icon: "offline", tone: "bad", words: "Offline", detail, action: RETRY };
  }
  const words = `Reconnecting ${Math.max(1, snapshot.attempt)}/${QUICK_ATTEMPTS}`;
  return { icon: "signal", tone: "busy", words, detail, action: RETRY_NOW };
}

function withoutAction(look: Look): Look {
  const { action: _, ...rest } = look;
  return rest;
}

/** `now` is the machine's monotonic clock, as `nextAttemptAt` is. */
export function lookOf(snapshot: LiveSnapshot, now: number): Look {
  const { rttMs, connectMs, nextAttemptAt } = snapshot;
  switch (snapshot.state) {
    case "OPEN":
      return {
        icon: "signal",
        tone: "live",
        words: "Live",
        ...(rttMs !== null && { detail: `${rttMs} ms` }),
        ...(connectMs !== null && { title: `Connected in ${connectMs} ms` }),
      };
    case "CONNECTING":
    case "AUTH":
      // It is being tried already.
      return snapshot.attempt > 0
        ? withoutAction(returning(snapshot, "connecting"))
        : { icon: "signal", tone: "busy", words: "Connecting" };
    case "RECONNECTING": {
      if (nextAttemptAt === null) return withoutAction(returning(snapshot, "renewing the session"));
      const seconds = Math.max(0, Math.ceil((nextAttemptAt - now) / 1_000));
      return returning(snapshot, `next in ${seconds} s`);
    }
    default:
      return closed(snapshot);
  }
}
