import type { ReactNode } from "react";
import stacked from "./Stacked.module.css";

/** A further, quieter line of a cell. */
export function Sub({ children, title }: { children: ReactNode; title?: string }) {
  return (
    <span className={stacked.sub} title={title}>
      {children}
    </span>
  );
}
