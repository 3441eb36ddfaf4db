import { useQuery } from "@tanstack/react-query";
import { useEffect } from "react";
import { api } from "@/app/services";
import type { Page } from "@/http/api";
import { readReadiness, readWorker } from "@/http/read";
import { useChannel, useLive } from "@/live/useLive";
import { Icon, type IconName } from "@/ui/Icon";
import { Loaded } from "@/ui/Panel";
import styles from "./Status.module.css";

type Tone = "ok" | "warn" | "bad" | "off";

const TONES: Record<string, Tone> = {
  ok: "ok",
  ready: "ok",
  up: "ok",
  alive: "ok",
  degraded: "warn",
  stale: "warn",
  starting: "warn",
  draining: "warn",
  unknown: "warn",
  off: "off",
  disabled: "off",
};
const ICONS: Record<Tone, IconName> = { ok: "check", warn: "alert", bad: "cross", off: "power" };

interface CellProps {
  name: string;
  tone: Tone;
  word: string;
  title?: string | undefined;
}

function Cell({ name, tone, word, title }: CellProps) {
  return (
    <li className={`${styles.cell} ${styles[tone]}`} title={title}>
      <Icon name={ICONS[tone]} size={13} />
      <b>{name.replaceAll("_", " ")}</b>
      <span>{word}</span>
    </li>
  );
}

export function StatusStrip() {
  const readiness = useQuery({
    queryKey: ["readyz"],
    queryFn: async ({ signal }) => readReadiness(await api.readiness<unknown>(signal)),
    refetchInterval: 10_000,
  });
  const workers = useQuery({
    queryKey: ["workers"],
    queryFn: async ({ signal }) => {
      const page = await api.get<Page<unknown>>("/api/v1/workers", {}, signal);
      return page.items.map(readWorker).filter((node) => node.role === "worker");
    },
    refetchInterval: 15_000,
  });
  const { state } = useLive();
  const reread = () => void readiness.refetch();
  useChannel("system", { onEvent: reread });
  const { refetch } = readiness;
  useEffect(() => {
    if (state === "OPEN") void refetch();
  }, [state, refetch]);
  const online = workers.data?.filter((worker) => worker.online).length;
  return (
    <section aria-label="Status">
      <Loaded query={readiness} rows={1}>
        {({ status, parts }) => (
          <ul className={styles.strip}>
            <Cell name="Tenure" tone={TONES[status] ?? "bad"} word={status} />
            {workers.data !== undefined && (
              <Cell
                name="Workers"
                tone={online === 0 ? "bad" : online === workers.data.length ? "ok" : "warn"}
                word={`${online} of ${workers.data.length}`}
                title={workers.data.map((worker) => worker.name).join("\n")}
              />
            )}
            {Object.entries(parts)
              // The count of workers says more.
              .filter(([name]) => name !== "worker" || workers.data === undefined)
              .map(([name, part]) => (
                <Cell
                  key={name}
                  name={name}
                  tone={TONES[part.status] ?? "bad"}
                  word={part.status}
                  title={part.detail ?? undefined}
                />
              ))}
          </ul>
        )}
      </Loaded>
    </section>
  );
}
