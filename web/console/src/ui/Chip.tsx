import styles from "./Chip.module.css";
import { Icon, type IconName } from "./Icon";

export type ChipTone = "ok" | "bad" | "warn" | "kill" | "calm" | "info";

export interface ChipLook {
  tone: ChipTone;
  icon: IconName;
  word: string;
}

export function Chip({ look, title }: { look: ChipLook; title?: string }) {
  return (
    <span className={`${styles.chip} ${styles[look.tone]}`} title={title}>
      <Icon name={look.icon} size={12} />
      {look.word}
    </span>
  );
}
