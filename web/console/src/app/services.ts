import { QueryClient } from "@tanstack/react-query";
import { Api } from "@/http/api";
import { isProblem } from "@/http/problem";
import { observeClock } from "@/http/serverClock";
import { LiveClient } from "@/live/client";
import { tabStore } from "@/live/tabStore";
import { browserTimers } from "@/live/timers";
import { Session } from "@/session/session";

const COMMANDS_KEY = "tenure.waiting-commands";
const HIDDEN_MS = 5 * 60_000;
const SIGN_OUT = "signed-out";

const fetcher: typeof fetch = async (input, init) => {
  const response = await window.fetch(input, init);
  observeClock(response);
  return response;
};

/** The refresh token rotates: two tabs that renew at once would look like a stolen one. */
function alone<T>(work: () => Promise<T>): Promise<T> {
  if (navigator.locks === undefined) return work();
  return navigator.locks.request("tenure-refresh", work) as Promise<T>;
}

export const session = new Session({ fetch: fetcher, alone, now: () => performance.now() });
export const api = new Api(session, fetcher);

export const live = new LiveClient({
  open: () => {
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    return new WebSocket(`${scheme}//${location.host}/ws`, "tenure.v1");
  },
  timers: browserTimers,
  random: Math.random,
  credentials: session,
  store: tabStore(() => window.sessionStorage, COMMANDS_KEY),
  wallClock: () => Date.now(),
});

export const queryClient = new QueryClient({
  defaultOptions: {
    queries: {
      // What events told while no screen showed a list is not in it: shown again, it is read again.
      staleTime: 0,
      gcTime: 10 * 60_000,
      refetchOnWindowFocus: false,
      retry: (failures, error) =>
        failures < 2 && isProblem(error) && (error.status === 0 || error.status >= 502),
    },
  },
});

/** Binds session, live line and page life together; called once by the page. */
export function startServices(): void {
  const tabs = "BroadcastChannel" in window ? new BroadcastChannel("tenure-session") : null;
  let signedIn = false;
  let renewal: number | null = null;

  const renewLater = (ms: number): void => {
    if (renewal !== null) window.clearTimeout(renewal);
    renewal = window.setTimeout(() => {
      void session.refresh().then((answer) => {
        if (answer === "unavailable") renewLater(15_000);
      });
    }, ms);
  };

  session.onToken(() => {
    live.tokenChanged();
    const wait = session.renewIn();
    if (wait !== null) renewLater(wait);
  });

  session.watch(() => {
    const now = session.snapshot();
    if (now.status === "signed_in" && !signedIn) {
      signedIn = true;
      live.connect();
    } else if (now.status === "signed_out" && signedIn) {
      signedIn = false;
      if (renewal !== null) window.clearTimeout(renewal);
      live.disconnect("signed_out");
      // What is under way would only meet a session that has ended.
      void queryClient.cancelQueries();
      queryClient.clear();
      if (!now.expired) tabs?.postMessage(SIGN_OUT);
    } else if (now.status === "signed_out") {
      // What a page before this one left waiting was asked by somebody else, perhaps.
      live.discardWaiting();
    }
  });

  if (tabs !== null) {
    tabs.onmessage = (event) => {
      if (event.data === SIGN_OUT && signedIn) session.forget(true);
    };
  }
  window.addEventListener("online", () => live.wake());
  window.addEventListener("offline", () => live.probe());
  leaveWhileHidden();
  void session.start();
}

function leaveWhileHidden(): void {
  let timer: number | null = null;
  document.addEventListener("visibilitychange", () => {
    if (timer !== null) window.clearTimeout(timer);
    timer = null;
    if (document.hidden) timer = window.setTimeout(() => live.disconnect("hidden"), HIDDEN_MS);
    else live.wake();
  });
}
