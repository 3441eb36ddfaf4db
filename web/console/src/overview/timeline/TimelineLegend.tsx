import { Legend } from "@/ui/Legend";
import { LOOKS, type Shown } from "../look";
import styles from "./Timeline.module.css";

const ORDER: Shown[] = ["ok", "running", "failed", "timed_out", "killed", "lost", "canceled"];

export function TimelineLegend({ cut }: { cut: boolean }) {
  return (
    <Legend>
      {ORDER.map((shown) => (
        <li key={shown}>
          <span className={`${styles.swatch} ${styles[`sw_${shown}`]}`} /> {LOOKS[shown].word}
        </li>
      ))}
      <li>
        <span className={`${styles.swatch} ${styles.sw_skipped}`} /> due, not started
      </li>
      <li>
        <span className={`${styles.swatch} ${styles.sw_limit}`} /> hard limit
      </li>
      {cut && (
        <li>
          <span className={`${styles.swatch} ${styles.sw_cut}`} /> only trouble is drawn here
        </li>
      )}
    </Legend>
  );
}
