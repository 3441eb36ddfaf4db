import { useNavigate, useSearch } from "@tanstack/react-router";
import { useCallback, useState } from "react";
import { useMay } from "@/app/useUser";
import { Button, Segments } from "@/ui/Button";
import { Attention } from "./Attention";
import { IterationPanel } from "./IterationPanel";
import { type Filter, IterationTable } from "./IterationTable";
import styles from "./Overview.module.css";
import { QueuePanel } from "./queues/QueuePanel";
import { RunDialog } from "./RunDialog";
import { StatusStrip } from "./StatusStrip";
import { type OverviewSearch, RANGES, type Range } from "./search";
import { TimelinePanel } from "./TimelinePanel";
import { useLiveIterations } from "./useLiveIterations";

const RANGE_WORDS: Record<Range, string> = { "15m": "15 min", "1h": "1 h", "6h": "6 h" };

type Change = { [Name in keyof OverviewSearch]?: OverviewSearch[Name] | undefined };

function useOverviewSearch(): [OverviewSearch, (change: Change) => void] {
  const search = useSearch({ from: "/" });
  const navigate = useNavigate({ from: "/" });
  const change = useCallback(
    (next: Change) => {
      void navigate({
        search: (before) => {
          const merged = Object.entries({ ...before, ...next });
          return Object.fromEntries(merged.filter(([, value]) => value !== undefined));
        },
        replace: true,
        resetScroll: false,
      });
    },
    [navigate],
  );
  return [search, change];
}

export function Overview() {
  const [search, change] = useOverviewSearch();
  const [running, setRunning] = useState(false);
  const mayRun = useMay("operator");
  const range = search.range ?? "15m";
  const select = useCallback((iteration: string) => change({ iteration }), [change]);
  useLiveIterations();

  const filter: Filter = {};
  if (search.job !== undefined) filter.job = search.job;
  if (search.scope !== undefined) filter.scope = search.scope;
  if (search.outcome !== undefined) filter.outcome = search.outcome;
  if (search.open !== undefined) filter.open = search.open;

  return (
    <div className={styles.page}>
      <div className={styles.head}>
        {search.view === undefined && (
          <Segments
            label="Time range"
            value={range}
            options={RANGES.map((value) => ({ value, label: RANGE_WORDS[value] }))}
            onChange={(value) => change({ range: value === "15m" ? undefined : value })}
          />
        )}
        <Segments
          label="View"
          value={search.view ?? "lanes"}
          options={[
            { value: "lanes", label: "Timeline", icon: "lanes" },
            { value: "table", label: "Table", icon: "table" },
          ]}
          onChange={(value) => change({ view: value === "table" ? "table" : undefined })}
        />
        {mayRun && (
          <Button
            tone="primary"
            icon="play"
            data-shortcut="r"
            title="r"
            onClick={() => setRunning(true)}
          >
            Run now
          </Button>
        )}
      </div>
      <StatusStrip />
      {search.view === "table" ? (
        <IterationTable
          filter={filter}
          selected={search.iteration ?? null}
          onSelect={select}
          onFilter={(next) =>
            change({
              job: undefined,
              scope: undefined,
              outcome: undefined,
              open: undefined,
              ...next,
            })
          }
        />
      ) : (
        <TimelinePanel
          range={range}
          internal={search.internal === true}
          selected={search.iteration ?? null}
          onSelect={select}
          onJob={(job) => change({ view: "table", job })}
          onInternal={(on) => change({ internal: on ? true : undefined })}
        />
      )}
      <div className={styles.pair}>
        <QueuePanel />
        <Attention />
      </div>
      {search.iteration !== undefined && (
        <IterationPanel
          key={search.iteration}
          id={search.iteration}
          onClose={() => change({ iteration: undefined })}
        />
      )}
      {running && (
        <RunDialog
          initialJob={search.job}
          onClose={() => setRunning(false)}
          onOpenIteration={(iteration) => {
            setRunning(false);
            change({ iteration });
          }}
        />
      )}
    </div>
  );
}
