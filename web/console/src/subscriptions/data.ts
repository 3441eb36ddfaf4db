import { type QueryClient, useQuery } from "@tanstack/react-query";
import { useRef } from "react";
import { api } from "@/app/services";
import type { Page } from "@/http/api";
import type { Customer, Invoice, Subscription, TimelineEntry } from "@/http/model";
import { useChannel } from "@/live/useLive";

const path = (id: string, rest = "") => `/api/v1/subscriptions/${encodeURIComponent(id)}${rest}`;
const TIMELINE_PAGE = 200;
const SETTLE_MS = 200;

export const subscriptionPath = path;

export function useSubscription(id: string) {
  return useQuery({
    queryKey: ["subscription", id, "head"],
    queryFn: ({ signal }) => api.get<Subscription>(path(id), {}, signal),
  });
}

export interface Story {
  entries: TimelineEntry[];
  next: string | null;
}

/** Oldest first; a long story is read to its end, page by page, up to five thousand entries. */
export function useTimeline(id: string) {
  return useQuery({
    queryKey: ["subscription", id, "timeline"],
    queryFn: async ({ signal }): Promise<Story> => {
      const entries: TimelineEntry[] = [];
      let cursor: string | null = null;
      for (let page = 0; page < 25; page += 1) {
        const query = { limit: TIMELINE_PAGE, cursor };
        const answer: Page<TimelineEntry> = await api.get(path(id, "/timeline"), query, signal);
        entries.push(...answer.items);
        cursor = answer.next_cursor;
        if (cursor === null) break;
      }
      return { entries, next: cursor };
    },
  });
}

export function useInvoices(id: string) {
  return useQuery({
    queryKey: ["subscription", id, "invoices"],
    queryFn: async ({ signal }): Promise<Invoice[]> => {
      const query = { subscription: id, limit: 50 };
      return (await api.get<Page<Invoice>>("/api/v1/invoices", query, signal)).items;
    },
  });
}

export function useCustomer(id: string | undefined) {
  return useQuery({
    queryKey: ["customer", id],
    enabled: id !== undefined && id !== "",
    staleTime: 5 * 60_000,
    queryFn: ({ signal }) =>
      api.get<Customer>(`/api/v1/customers/${encodeURIComponent(id ?? "")}`, {}, signal),
  });
}

export const rereadSubscription = (client: QueryClient, id: string): void => {
  void client.invalidateQueries({ queryKey: ["subscription", id] });
};

/** Reads again when the object's channel tells of a change; a burst of changes is read once. */
export function useLiveSubscription(client: QueryClient, id: string): void {
  const timer = useRef<number | null>(null);
  const reread = () => {
    if (timer.current !== null) window.clearTimeout(timer.current);
    timer.current = window.setTimeout(() => rereadSubscription(client, id), SETTLE_MS);
  };
  useChannel(`subscription:${id}`, { onEvent: reread, onResync: reread });
}
