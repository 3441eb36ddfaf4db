import { Fragment } from "react";
import { Icon } from "@/ui/Icon";
import { duration, moment, utc } from "@/ui/time";
import styles from "./StateDiagram.module.css";
import { between, type Step } from "./steps";

/** The way that this one took, with the ways it did not take beside it. */
export function StateDiagram({
  steps,
  upright = false,
}: {
  steps: readonly Step[];
  upright?: boolean;
}) {
  return (
    <ol
      className={`${styles.way} ${upright ? styles.upright : ""}`}
      aria-label="States"
      data-testid="states"
    >
      {steps.map((step, index) => (
        <Fragment key={step.name}>
          {index > 0 && <Leap before={steps[index - 1]} step={step} />}
          <li
            className={styles.step}
            data-tone={step.tone}
            data-open={steps[index + 1]?.at === null}
          >
            <span className={styles.dot} data-turning={step.icon === "spinner"}>
              <Icon name={step.icon} size={14} />
            </span>
            <div>
              <b>{step.name}</b>
              <span className={styles.time} title={step.at === null ? undefined : utc(step.at)}>
                {step.at === null ? "–" : exact(step.at)}
              </span>
              <span className={styles.by}>{step.by}</span>
              {step.instead.length > 0 && (
                <span className={styles.instead}>
                  {step.at === null ? "can become: " : "other ways: "}
                  {step.instead.map((name) => (
                    <i key={name}>{name}</i>
                  ))}
                </span>
              )}
            </div>
          </li>
        </Fragment>
      ))}
    </ol>
  );
}

/** To the millisecond: most steps follow each other within one second. */
function exact(iso: string): string {
  const ms = String(new Date(iso).getMilliseconds()).padStart(3, "0");
  return `${moment(iso)}.${ms}`;
}

function Leap({ before, step }: { before: Step | undefined; step: Step }) {
  const ms = between(before, step);
  return (
    <li className={styles.leap} aria-hidden={ms === null} data-open={step.at === null}>
      <span>{ms === null ? "" : duration(ms)}</span>
    </li>
  );
}
