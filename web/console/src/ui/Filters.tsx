import type { ReactNode } from "react";
import styles from "./Filters.module.css";

/** The bar above a list by which it is narrowed. */
export function Filters({ children }: { children: ReactNode }) {
  return <search className={styles.filters}>{children}</search>;
}

interface ChoiceProps<T extends string> {
  label: string;
  /** What the choice says while it narrows nothing. */
  all: string;
  value: T | undefined;
  options: readonly { value: T; word: string }[];
  onChange: (value: T | "") => void;
  /** The key `/` goes here. */
  isSearch?: boolean;
}

/** One value of a few, or all of them. */
export function Choice<T extends string>(props: ChoiceProps<T>) {
  const { label, all, value, options, onChange, isSearch = false } = props;
  return (
    <select
      className={styles.choice}
      aria-label={label}
      {...(isSearch && { "data-search": true })}
      value={value ?? ""}
      onChange={(event) => onChange(event.target.value as T | "")}
    >
      <option value="">{all}</option>
      {options.map((option) => (
        <option key={option.value} value={option.value}>
          {option.word}
        </option>
      ))}
    </select>
  );
}
