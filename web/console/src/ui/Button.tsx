import type { ButtonHTMLAttributes, ReactNode } from "react";
import styles from "./Button.module.css";
import { Icon, type IconName } from "./Icon";

export type Tone = "plain" | "primary" | "danger" | "quiet";

interface ButtonProps extends ButtonHTMLAttributes<HTMLButtonElement> {
  tone?: Tone;
  small?: boolean;
  icon?: IconName;
}

export function buttonClass(tone: Tone = "plain", small = false): string {
  const toneClass = tone === "plain" ? "" : styles[tone];
  return [styles.button, toneClass, small ? styles.small : ""].filter(Boolean).join(" ");
}

export function Button({ tone = "plain", small = false, icon, children, ...rest }: ButtonProps) {
  return (
    <button type="button" {...rest} className={buttonClass(tone, small)}>
      {icon !== undefined && <Icon name={icon} size={14} />}
      {children}
    </button>
  );
}

interface IconButtonProps extends ButtonHTMLAttributes<HTMLButtonElement> {
  icon: IconName;
  label: string;
}

export function IconButton({ icon, label, ...rest }: IconButtonProps) {
  return (
    <button
      type="button"
      {...rest}
      aria-label={label}
      title={label}
      className={`${styles.button} ${styles.quiet} ${styles.icon}`}
    >
      <Icon name={icon} />
    </button>
  );
}

interface SegmentsProps<T extends string> {
  label: string;
  value: T;
  options: readonly { value: T; label: ReactNode; icon?: IconName }[];
  onChange: (value: T) => void;
}

export function Segments<T extends string>({ label, value, options, onChange }: SegmentsProps<T>) {
  return (
    <fieldset className={styles.segments} style={{ border: 0, margin: 0 }}>
      <legend className="visually-hidden">{label}</legend>
      {options.map((option) => (
        <button
          key={option.value}
          type="button"
          className={styles.segment}
          aria-pressed={option.value === value}
          onClick={() => onChange(option.value)}
        >
          {option.icon !== undefined && <Icon name={option.icon} size={14} />}
          {option.label}
        </button>
      ))}
    </fieldset>
  );
}
