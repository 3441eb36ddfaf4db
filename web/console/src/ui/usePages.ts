import {
  type InfiniteData,
  type QueryKey,
  type UseInfiniteQueryResult,
  useInfiniteQuery,
} from "@tanstack/react-query";
import type { Page } from "@/http/api";

export type PagesQuery<T> = UseInfiniteQueryResult<InfiniteData<Page<T>, string | null>>;

/** How many rows a list asks for at once. */
export const PAGE = 50;

type ReadPage<T> = (cursor: string | null, signal: AbortSignal) => Promise<Page<T>>;

/** A list that is read page by page. While another filter is read, the rows before stay shown. */
export function usePages<T>(queryKey: QueryKey, read: ReadPage<T>): PagesQuery<T> {
  return useInfiniteQuery({
    queryKey,
    initialPageParam: null as string | null,
    queryFn: ({ pageParam, signal }) => read(pageParam, signal),
    getNextPageParam: (page) => page.next_cursor,
    placeholderData: (before) => before,
  });
}
