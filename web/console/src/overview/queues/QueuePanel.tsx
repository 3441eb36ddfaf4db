import { useQuery } from "@tanstack/react-query";
import { lazy, Suspense, useEffect, useSyncExternalStore } from "react";
import "uplot/dist/uPlot.min.css";
import { patientImport } from "@/app/patientImport";
import { api } from "@/app/services";
import type { Page } from "@/http/api";
import type { QueueRow } from "@/http/model";
import { readQueue } from "@/http/read";
import { useChannel } from "@/live/useLive";
import { Chip } from "@/ui/Chip";
import { Empty, Loaded, Panel } from "@/ui/Panel";
import { span } from "@/ui/time";
import { dashStyle, strokeOf } from "./colours";
import styles from "./Queues.module.css";
import { samples } from "./samples";

const DepthChart = lazy(() =>
  patientImport(() => import("./DepthChart")).then((module) => ({ default: module.DepthChart })),
);

export function useQueues() {
  return useQuery({
    queryKey: ["queues"],
    queryFn: async ({ signal }): Promise<QueueRow[]> => {
      const page = await api.get<Page<unknown>>("/api/v1/queues", {}, signal);
      return page.items.map(readQueue);
    },
    refetchInterval: 30_000,
  });
}

export function QueuePanel() {
  const query = useQueues();
  const latest = useSyncExternalStore(samples.watch, samples.rows);
  const history = useSyncExternalStore(samples.watch, samples.history);
  useChannel("queues", {
    onEvent: (event) => {
      if (event.type === "queue.sample") samples.add(readQueue(event.data), Date.now());
    },
    onResync: () => void query.refetch(),
  });
  useEffect(() => {
    for (const row of query.data ?? []) samples.add(row, Date.now());
  }, [query.data]);
  return (
    <Panel title="Queues" note="depth, last 15 minutes in this tab">
      <Loaded query={query} rows={5}>
        {(rows) =>
          rows.length === 0 ? (
            <Empty>No worker has declared a queue yet.</Empty>
          ) : (
            <>
              <div className={styles.chart}>
                <Suspense fallback={null}>
                  <DepthChart queues={rows.map((row) => row.queue)} history={history} />
                </Suspense>
              </div>
              <QueueTable rows={rows.map((row) => latest.get(row.queue) ?? row)} />
            </>
          )
        }
      </Loaded>
    </Panel>
  );
}

const seconds = (value: number | null) =>
  value === null ? "–" : value < 1 ? "< 1 s" : span(value * 1_000);

function QueueTable({ rows }: { rows: readonly QueueRow[] }) {
  return (
    <table className={styles.table}>
      <thead>
        <tr>
          <th scope="col">Queue</th>
          <th scope="col" className={styles.n}>
            Depth
          </th>
          <th scope="col" className={styles.n}>
            Oldest waiting
          </th>
          <th scope="col" className={styles.n}>
            Wait p95
          </th>
        </tr>
      </thead>
      <tbody>
        {rows.map((row, index) => (
          <tr key={row.queue} className={row.paused ? styles.paused : ""}>
            <td>
              <span className={styles.key}>
                <span
                  className={styles.dash}
                  style={{
                    borderTopColor: `var(${strokeOf(index).variable})`,
                    borderTopStyle: dashStyle(index),
                  }}
                />
                {row.queue}
                {row.paused && (
                  <Chip look={{ tone: "warn", icon: "pause", word: "has paused jobs" }} />
                )}
              </span>
            </td>
            <td className={styles.n}>{row.depth}</td>
            <td className={styles.n}>{row.oldest_s ? seconds(row.oldest_s) : "–"}</td>
            <td className={styles.n}>{seconds(row.wait_p95_s)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
