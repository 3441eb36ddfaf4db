import type { ReactNode } from "react";
import { Button } from "./Button";
import styles from "./Pages.module.css";
import { ProblemPanel, Skeleton } from "./Panel";
import type { PagesQuery } from "./usePages";

interface PagesProps<T> {
  query: PagesQuery<T>;
  /** Shown instead of the rows when there are none. */
  empty: ReactNode;
  /** What the button says that reads the next page. */
  more: string;
  children: (rows: readonly T[]) => ReactNode;
}

/** A list in its four states: not read yet, failed, without rows, with rows and a way to further ones. */
export function Pages<T>({ query, empty, more, children }: PagesProps<T>) {
  const rows = query.data?.pages.flatMap((page) => page.items);
  if (rows === undefined) {
    if (query.error === null) return <Skeleton rows={10} />;
    return <ProblemPanel error={query.error} onRetry={() => void query.refetch()} />;
  }
  return (
    <>
      {rows.length === 0 ? empty : children(rows)}
      {query.hasNextPage && (
        <div className={styles.more}>
          <Button disabled={query.isFetchingNextPage} onClick={() => void query.fetchNextPage()}>
            {query.isFetchingNextPage ? "Loading…" : more}
          </Button>
        </div>
      )}
    </>
  );
}
