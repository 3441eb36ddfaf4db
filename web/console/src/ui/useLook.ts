import { type QueryKey, useQueryClient } from "@tanstack/react-query";
import { useEffect } from "react";

/**
 * Has these queries read again every `everyMs` while the page is seen: for what no event tells.
 * (A query's own interval begins anew with each event that changes its data, and would never end.)
 * `queryKey` must be the same object at each call.
 */
export function useLook(queryKey: QueryKey, everyMs: number): void {
  const client = useQueryClient();
  useEffect(() => {
    const look = () => document.hidden || void client.invalidateQueries({ queryKey });
    const id = window.setInterval(look, everyMs);
    return () => window.clearInterval(id);
  }, [client, queryKey, everyMs]);
}
