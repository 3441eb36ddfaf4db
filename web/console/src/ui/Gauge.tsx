import styles from "./Gauge.module.css";
import type { Shares } from "./gaugeOf";

interface GaugeProps {
  shares: Shares;
  title?: string;
  /** As wide as a panel, not as a cell. */
  wide?: boolean;
}

/** A duration as a bar whose end is the hard limit; the tick is the soft limit. */
export function Gauge({ shares, title, wide = false }: GaugeProps) {
  // However short it was, something of it is seen.
  const width = Math.max(wide ? 0.5 : 2, shares.part * 100);
  return (
    <span className={styles.gauge} data-wide={wide} title={title}>
      <i style={{ width: `${width}%` }} data-high={shares.isOverSoft} />
      {shares.soft !== null && <b style={{ left: `${shares.soft * 100}%` }} />}
    </span>
  );
}
