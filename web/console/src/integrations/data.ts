import { useQuery } from "@tanstack/react-query";
import { api } from "@/app/services";
import type { Page } from "@/http/api";
import type { Integration, Probed } from "@/http/model";
import { serverNow } from "@/http/serverClock";
import { useChannel } from "@/live/useLive";
import { useLook } from "@/ui/useLook";
import { useReread } from "@/ui/useReread";

export const INTEGRATIONS = ["integrations"] as const;
const LOOK_MS = 5_000;
const SETTLE_MS = 300;

export interface Read {
  items: readonly Integration[];
  /** When they were read, by the server's clock. */
  readAt: number;
}

export function useIntegrations() {
  return useQuery({
    queryKey: INTEGRATIONS,
    queryFn: async ({ signal }): Promise<Read> => {
      const page = await api.get<Page<Integration>>("/api/v1/integrations", {}, signal);
      return { items: page.items, readAt: serverNow() };
    },
  });
}

/** What is forced is told on `system`, what opened or closed by itself on `alerts`; the rest is seen by looking. */
export function useLiveIntegrations(): void {
  const reread = useReread(INTEGRATIONS, SETTLE_MS);
  useLook(INTEGRATIONS, LOOK_MS);
  useChannel("alerts", { onEvent: reread, onResync: reread });
  useChannel("system", {
    onEvent: (event) => event.type.startsWith("breaker.") && reread(),
    onResync: reread,
  });
}

const pathOf = (name: string, rest: string) =>
  `/api/v1/integrations/${encodeURIComponent(name)}/${rest}`;

/** A real call to the other side, without effects. */
export const testIntegration = (name: string, key: string) =>
  api.post<Probed>(pathOf(name, "test"), {}, key);

export interface Forcing {
  state: "open" | "closed";
  for_s: number;
  reason: string;
}

export const forceBreaker = (name: string, forcing: Forcing, key: string) =>
  api.post<unknown>(pathOf(name, "breaker"), forcing, key);

export const releaseBreaker = (name: string, key: string) =>
  api.post<unknown>(pathOf(name, "breaker"), { state: "auto" }, key);
