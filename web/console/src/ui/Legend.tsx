import type { ReactNode } from "react";
import styles from "./Legend.module.css";

interface LegendProps {
  /** The marks stand on the line of the words. */
  standing?: boolean;
  /** List items: a mark and its words. */
  children: ReactNode;
}

/** What the marks above it mean. */
export function Legend({ standing = false, children }: LegendProps) {
  return (
    <ul className={styles.legend} data-standing={standing} aria-label="Legend">
      {children}
    </ul>
  );
}
