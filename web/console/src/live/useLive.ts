import { useEffect, useRef, useSyncExternalStore } from "react";
import { live } from "@/app/services";
import type { ChannelListener } from "./channel";
import type { LiveSnapshot } from "./client";

export function useLive(): LiveSnapshot {
  return useSyncExternalStore(live.watch, live.snapshot);
}

/** Follows a channel while the component is shown. The newest listener is always the one called. */
export function useChannel(name: string | null, listener: ChannelListener): void {
  const latest = useRef(listener);
  useEffect(() => {
    latest.current = listener;
  });
  useEffect(() => {
    if (name === null) return;
    return live.subscribe(name, {
      onEvent: (event) => latest.current.onEvent?.(event),
      onResync: (reason) => latest.current.onResync?.(reason),
    });
  }, [name]);
}
