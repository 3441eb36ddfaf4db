import { type ReactNode, useEffect, useRef } from "react";
import { IconButton } from "./Button";
import styles from "./Drawer.module.css";
import { PanelBoundary } from "./Panel";

interface DrawerProps {
  title: ReactNode;
  label: string;
  onClose: () => void;
  children: ReactNode;
}

/** A side panel that leaves the screen beside it usable. Escape closes it. */
export function Drawer({ title, label, onClose, children }: DrawerProps) {
  const close = useRef(onClose);
  useEffect(() => {
    close.current = onClose;
  });
  useEffect(() => {
    const press = (event: KeyboardEvent): void => {
      if (event.key === "Escape" && document.querySelector("dialog[open]") === null)
        close.current();
    };
    window.addEventListener("keydown", press);
    return () => window.removeEventListener("keydown", press);
  }, []);
  return (
    <aside className={styles.drawer} aria-label={label} data-testid="drawer">
      <header className={styles.head}>
        <h2>{title}</h2>
        <IconButton icon="cross" label="Close" onClick={onClose} />
      </header>
      <div className={styles.body}>
        <PanelBoundary>{children}</PanelBoundary>
      </div>
    </aside>
  );
}

export function Group({ title, children }: { title: string; children: ReactNode }) {
  return (
    <section className={styles.group}>
      <h3>{title}</h3>
      {children}
    </section>
  );
}

/** Pairs of name and value; a null value is left out. */
export function Facts({ rows }: { rows: Readonly<Record<string, ReactNode>> }) {
  return (
    <dl className={styles.facts}>
      {Object.entries(rows)
        .filter(([, value]) => value !== null && value !== undefined)
        .map(([name, value]) => (
          <div key={name} style={{ display: "contents" }}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
    </dl>
  );
}
