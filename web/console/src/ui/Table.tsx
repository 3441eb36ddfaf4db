import type { ReactNode } from "react";
import styles from "./Table.module.css";

interface TableProps {
  /** What tests find the table by. */
  name: string;
  columns: readonly string[];
  /** A last column whose heading only a screen reader is told. */
  unseenColumn?: string | null;
  /** Rows of two lines. */
  tall?: boolean;
  /** The screen's own look, instead of the common one. */
  className?: string | undefined;
  children: ReactNode;
}

/** A table that scrolls sideways inside its panel, never the page. */
export function Table(props: TableProps) {
  const { name, columns, unseenColumn = null, tall, className = styles.table, children } = props;
  return (
    <div className={styles.scroll}>
      <table className={className} data-tall={tall} data-testid={name}>
        <thead>
          <tr>
            {columns.map((column) => (
              <th key={column} scope="col">
                {column}
              </th>
            ))}
            {unseenColumn !== null && (
              <th scope="col">
                <span className="visually-hidden">{unseenColumn}</span>
              </th>
            )}
          </tr>
        </thead>
        <tbody>{children}</tbody>
      </table>
    </div>
  );
}

interface RowProps {
  selected?: boolean;
  onOpen: () => void;
  children: ReactNode;
}

/** A row that a click opens. The keyboard's way in is a `RowButton` or a link in its first cell. */
export function Row({ selected, onOpen, children }: RowProps) {
  return (
    <tr data-row aria-selected={selected} onClick={onOpen}>
      {children}
    </tr>
  );
}

/** Its press reaches the row as a click. */
export function RowButton({ children }: { children: ReactNode }) {
  return (
    <button type="button" className={styles.open}>
      {children}
    </button>
  );
}

/** Text of any length: cut in the table, whole in its title. */
export function Clipped({ text }: { text: string }) {
  return (
    <span className={styles.clipped} title={text}>
      {text === "" ? <span className="muted">–</span> : text}
    </span>
  );
}
