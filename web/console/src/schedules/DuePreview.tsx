import type { Preview } from "@/http/model";
import { Rest } from "@/ui/errors";
import { relative } from "@/ui/time";
import { useNow } from "@/ui/useNow";
import { localTime } from "./localTime";
import styles from "./Schedules.module.css";

interface DuePreviewProps {
  preview: Preview | undefined;
  stale: boolean;
  failed: unknown;
  shown: readonly string[];
}

/** The next due times as the server counts them. */
export function DuePreview({ preview, stale, failed, shown }: DuePreviewProps) {
  const now = useNow();
  if (preview === undefined) return <Rest error={failed} shown={shown} />;
  return (
    <div className={styles.preview} data-stale={stale} data-testid="preview" aria-live="polite">
      <b>{preview.in_words}</b>
      <ol aria-label="Next due times">
        {preview.due.map((due) => (
          <li key={due.at}>
            <span>{localTime(due.local)}</span>
            <span className="muted">{relative(due.at, now)}</span>
          </li>
        ))}
      </ol>
    </div>
  );
}
