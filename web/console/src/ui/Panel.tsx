import { Component, type ReactNode, useId } from "react";
import { isProblem } from "@/http/problem";
import { Button } from "./Button";
import { Icon } from "./Icon";
import styles from "./Panel.module.css";
import { clockTime } from "./time";

interface PanelProps {
  title: string;
  note?: ReactNode;
  actions?: ReactNode;
  children: ReactNode;
  className?: string | undefined;
}

/** A titled box whose failure stays inside it. */
export function Panel({ title, note, actions, children, className }: PanelProps) {
  const id = useId();
  return (
    <section
      className={className === undefined ? styles.panel : `${styles.panel} ${className}`}
      aria-labelledby={id}
    >
      <header className={styles.head}>
        <h2 id={id}>{title}</h2>
        {note !== undefined && <span className={styles.note}>{note}</span>}
        {actions}
      </header>
      <PanelBoundary>{children}</PanelBoundary>
    </section>
  );
}

interface BoundaryState {
  error: Error | null;
}

export class PanelBoundary extends Component<{ children: ReactNode }, BoundaryState> {
  override state: BoundaryState = { error: null };

  static getDerivedStateFromError(error: Error): BoundaryState {
    return { error };
  }

  override render(): ReactNode {
    if (this.state.error === null) return this.props.children;
    return <ProblemPanel error={this.state.error} onRetry={() => this.setState({ error: null })} />;
  }
}

export function ProblemPanel({ error, onRetry }: { error: unknown; onRetry?: () => void }) {
  const problem = isProblem(error) ? error : null;
  const title =
    problem === null
      ? "This panel failed"
      : problem.status === 0
        ? "No answer from the server"
        : `HTTP ${problem.status} · ${problem.code}`;
  const wait =
    problem?.retryAfterS === null || problem === null
      ? ""
      : ` Try again in ${problem.retryAfterS} s.`;
  return (
    <div className={styles.problem} role="alert">
      <Icon name="alert" />
      <div className={styles.problemText}>
        <strong>{title}</strong>
        <span>
          {error instanceof Error ? error.message : String(error)}
          {wait}
        </span>
        {problem !== null && problem.fields.length > 0 && (
          <ul>
            {problem.fields.map((field) => (
              <li key={`${field.field}${field.code}`}>
                <span className="mono">{field.field}</span>: {field.message}
              </li>
            ))}
          </ul>
        )}
        {problem?.requestId && (
          <div className={styles.problemMeta}>
            Request <span className="mono">{problem.requestId}</span>
          </div>
        )}
      </div>
      {onRetry !== undefined && (
        <Button small onClick={onRetry}>
          Retry
        </Button>
      )}
    </div>
  );
}

export function Empty({ children, action }: { children: ReactNode; action?: ReactNode }) {
  return (
    <div className={styles.message}>
      <p>{children}</p>
      {action}
    </div>
  );
}

/** Appears after 200 ms, so that a quick answer does not flicker. */
export function Skeleton({ rows = 4 }: { rows?: number }) {
  return (
    <div className={styles.rows} role="status" aria-label="Loading">
      {Array.from({ length: rows }, (_, index) => (
        <div
          // biome-ignore lint/suspicious/noArrayIndexKey: the rows are alike and never move
          key={index}
          className={styles.bone}
          style={{ width: `${92 - ((index * 17) % 40)}%` }}
        />
      ))}
    </div>
  );
}

interface Loading<T> {
  data: T | undefined;
  error: unknown;
  isPending: boolean;
  dataUpdatedAt: number;
  refetch: () => unknown;
}

interface LoadedProps<T> {
  query: Loading<T>;
  rows?: number;
  children: (data: T) => ReactNode;
}

/** Skeleton, problem or data. Data that was once shown stays, with its age when it cannot be renewed. */
export function Loaded<T>({ query, rows, children }: LoadedProps<T>) {
  const retry = () => void query.refetch();
  if (query.data === undefined) {
    if (query.error !== null && query.error !== undefined) {
      return <ProblemPanel error={query.error} onRetry={retry} />;
    }
    return <Skeleton {...(rows !== undefined && { rows })} />;
  }
  return (
    <>
      {children(query.data)}
      {query.error !== null && query.error !== undefined && (
        <div className={styles.rows}>
          <span>
            <span className={styles.stale}>
              <Icon name="clock" size={12} /> as of {clockTime(query.dataUpdatedAt)}
            </span>{" "}
            <Button small tone="quiet" onClick={retry}>
              Retry
            </Button>
          </span>
        </div>
      )}
    </>
  );
}
