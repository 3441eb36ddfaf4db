import { type QueryKey, useQueryClient } from "@tanstack/react-query";
import { useRef } from "react";

/**
 * A function that has these queries read again, once in `everyMs` at most: what changes thousands of
 * rows tells of each. A screen that is left meanwhile finds its list stale when it is shown again.
 */
export function useReread(queryKey: QueryKey, everyMs: number): () => void {
  const client = useQueryClient();
  const timer = useRef<number | null>(null);
  return () => {
    if (timer.current !== null) return;
    timer.current = window.setTimeout(() => {
      timer.current = null;
      void client.invalidateQueries({ queryKey });
    }, everyMs);
  };
}
