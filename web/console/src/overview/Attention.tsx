import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { api } from "@/app/services";
import type { Page } from "@/http/api";
import type { Alert } from "@/http/model";
import { isOpenAlert, readAlert } from "@/http/read";
import { useChannel } from "@/live/useLive";
import { Chip, type ChipLook } from "@/ui/Chip";
import { Empty, Loaded, Panel } from "@/ui/Panel";
import { relative, utc } from "@/ui/time";
import { useNow } from "@/ui/useNow";
import styles from "./Attention.module.css";

function severityLook(severity: string): ChipLook {
  if (severity === "critical") return { tone: "bad", icon: "alert", word: "critical" };
  if (severity === "info") return { tone: "info", icon: "bell", word: "info" };
  return { tone: "warn", icon: "alert", word: severity };
}

export function Attention() {
  const query = useQuery({
    queryKey: ["alerts"],
    queryFn: async ({ signal }): Promise<Alert[]> => {
      const page = await api.get<Page<unknown>>("/api/v1/alerts", { limit: 50 }, signal);
      return page.items.filter(isOpenAlert).map(readAlert);
    },
    refetchInterval: 60_000,
  });
  const reread = () => void query.refetch();
  useChannel("alerts", { onEvent: reread, onResync: reread });
  const now = useNow(10_000);
  return (
    <Panel title="Needs attention">
      <Loaded query={query} rows={3}>
        {(alerts) =>
          alerts.length === 0 ? (
            <Empty>Nothing. No alert is open.</Empty>
          ) : (
            <ul className={styles.list} aria-live="polite">
              {alerts.map((alert) => (
                <li key={alert.id}>
                  <Chip look={severityLook(alert.severity)} />
                  <span className={styles.text}>
                    {alert.message}
                    <br />
                    <span className={styles.rule}>
                      {alert.rule} · <Subject rule={alert.rule} subject={alert.subject} />
                    </span>
                  </span>
                  <span className={styles.since} title={alert.since ? utc(alert.since) : undefined}>
                    {alert.since && relative(alert.since, now)}
                  </span>
                </li>
              ))}
            </ul>
          )
        }
      </Loaded>
    </Panel>
  );
}

function Subject({ rule, subject }: { rule: string; subject: string | null }) {
  if (subject === null || subject === "") return <>the whole system</>;
  if (rule === "breaker_open") {
    return (
      <Link to="/integrations" className="mono">
        {subject}
      </Link>
    );
  }
  const subscription = /\b(sub_\w+)/.exec(subject)?.[1];
  if (subscription === undefined) return <span className="mono">{subject}</span>;
  return (
    <Link to="/subscriptions/$id" params={{ id: subscription }} className="mono">
      {subscription}
    </Link>
  );
}
