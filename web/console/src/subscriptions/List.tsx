import { useInfiniteQuery, useQueryClient } from "@tanstack/react-query";
import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import { type FormEvent, useRef, useState } from "react";
import { useDomainNow } from "@/app/domainClock";
import { api } from "@/app/services";
import type { Page } from "@/http/api";
import { STATUSES, type Subscription, type SubscriptionStatus } from "@/http/model";
import { useChannel } from "@/live/useLive";
import { Button } from "@/ui/Button";
import { Chip } from "@/ui/Chip";
import { Dialog, DialogBody, DialogFoot, Field } from "@/ui/Dialog";
import { Icon } from "@/ui/Icon";
import { Empty, Panel, ProblemPanel, Skeleton } from "@/ui/Panel";
import { date, relative, utc } from "@/ui/time";
import styles from "./List.module.css";
import { provisioningLook, STATUS_LOOK } from "./look";
import { STANDARD, sameSearch, useSavedViews, type View } from "./savedViews";
import type { ListSearch } from "./search";

const PAGE = 50;
const REREAD_MS = 1_000;

function useSubscriptions(search: ListSearch) {
  return useInfiniteQuery({
    queryKey: ["subscriptions", search],
    initialPageParam: null as string | null,
    queryFn: ({ pageParam, signal }) =>
      api.get<Page<Subscription>>(
        "/api/v1/subscriptions",
        { ...search, limit: PAGE, cursor: pageParam },
        signal,
      ),
    getNextPageParam: (page) => page.next_cursor,
    placeholderData: (before) => before,
  });
}

export function SubscriptionList() {
  const search = useSearch({ from: "/subscriptions" });
  const navigate = useNavigate({ from: "/subscriptions" });
  const client = useQueryClient();
  const query = useSubscriptions(search);
  const timer = useRef<number | null>(null);
  const go = (next: ListSearch) => void navigate({ search: next });
  const reread = () => {
    // A mass expiry is thousands of events: the list is read again once a second at most.
    if (timer.current !== null) return;
    timer.current = window.setTimeout(() => {
      timer.current = null;
      void client.invalidateQueries({ queryKey: ["subscriptions"] });
    }, REREAD_MS);
  };
  useChannel("subscriptions", { onEvent: reread, onResync: reread });
  const rows = query.data?.pages.flatMap((page) => page.items);
  return (
    <>
      <Views search={search} onGo={go} />
      <Panel title="Subscriptions" note="newest first, live">
        <Filters key={search.customer ?? ""} search={search} onGo={go} />
        {rows === undefined && query.error !== null && (
          <ProblemPanel error={query.error} onRetry={() => void query.refetch()} />
        )}
        {rows === undefined && query.error === null && <Skeleton rows={10} />}
        {rows?.length === 0 && <NoRows search={search} onGo={go} />}
        {rows !== undefined && rows.length > 0 && <Table rows={rows} />}
        {query.hasNextPage && (
          <div className={styles.more}>
            <Button disabled={query.isFetchingNextPage} onClick={() => void query.fetchNextPage()}>
              {query.isFetchingNextPage ? "Loading…" : "Load more"}
            </Button>
          </div>
        )}
      </Panel>
    </>
  );
}

function NoRows({ search, onGo }: { search: ListSearch; onGo: (search: ListSearch) => void }) {
  if (sameSearch(search, {})) {
    return (
      <Empty
        action={
          <a href="/api/v1/docs" target="_blank" rel="noreferrer">
            Open the API documentation
          </a>
        }
      >
        There are no subscriptions yet. They come from the API or from{" "}
        <span className="mono">tenure import</span>.
      </Empty>
    );
  }
  return (
    <Empty action={<Button onClick={() => onGo({})}>Clear the filters</Button>}>
      No subscription matches these filters.
    </Empty>
  );
}

function Views({ search, onGo }: { search: ListSearch; onGo: (search: ListSearch) => void }) {
  const { views, save, remove } = useSavedViews();
  const [naming, setNaming] = useState(false);
  const all: readonly View[] = [...STANDARD, ...views];
  const isKnown = all.some((view) => sameSearch(view.search, search));
  return (
    <nav className={styles.views} aria-label="Saved views">
      {all.map((view) => (
        <span
          key={view.name}
          className={styles.view}
          data-current={sameSearch(view.search, search)}
        >
          <button
            type="button"
            aria-current={sameSearch(view.search, search)}
            onClick={() => onGo(view.search)}
          >
            {view.name}
          </button>
          {views.includes(view) && (
            <button
              type="button"
              aria-label={`Remove the view ${view.name}`}
              onClick={() => remove(view.name)}
            >
              <Icon name="cross" size={12} />
            </button>
          )}
        </span>
      ))}
      {!isKnown && (
        <Button small tone="quiet" icon="plus" onClick={() => setNaming(true)}>
          Save this view
        </Button>
      )}
      {naming && (
        <NameView
          onClose={() => setNaming(false)}
          onSave={(name) => {
            save({ name, search });
            setNaming(false);
          }}
        />
      )}
    </nav>
  );
}

function NameView({ onClose, onSave }: { onClose: () => void; onSave: (name: string) => void }) {
  const [name, setName] = useState("");
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (name.trim() !== "") onSave(name.trim());
  };
  return (
    <Dialog title="Save this view" onClose={onClose}>
      <form onSubmit={submit}>
        <DialogBody>
          <Field label="Name" hint="Kept in this browser.">
            {(attributes) => (
              <input
                {...attributes}
                value={name}
                maxLength={40}
                onChange={(event) => setName(event.target.value)}
              />
            )}
          </Field>
        </DialogBody>
        <DialogFoot>
          <Button onClick={onClose}>Cancel</Button>
          <Button type="submit" tone="primary" disabled={name.trim() === ""}>
            Save
          </Button>
        </DialogFoot>
      </form>
    </Dialog>
  );
}

function Filters({ search, onGo }: { search: ListSearch; onGo: (search: ListSearch) => void }) {
  const [typed, setTyped] = useState(search.customer ?? "");
  const apply = (next: Partial<Record<keyof ListSearch, string>>): void => {
    const merged = Object.entries({ ...search, ...next }).filter(([, value]) => value !== "");
    onGo(Object.fromEntries(merged) as ListSearch);
  };
  return (
    <search className={styles.filters}>
      <form
        className={styles.search}
        onSubmit={(event) => {
          event.preventDefault();
          apply({ customer: typed.trim() });
        }}
      >
        <Icon name="search" size={14} />
        <input
          data-search
          type="search"
          aria-label="Customer"
          placeholder="Customer: external id or cus_…"
          value={typed}
          onChange={(event) => {
            setTyped(event.target.value);
            if (event.target.value === "" && search.customer !== undefined) apply({ customer: "" });
          }}
        />
      </form>
      <select
        aria-label="Status"
        value={search.status ?? ""}
        onChange={(event) => apply({ status: event.target.value as SubscriptionStatus })}
        className={styles.select}
      >
        <option value="">All statuses</option>
        {STATUSES.map((status) => (
          <option key={status} value={status}>
            {STATUS_LOOK[status].word}
          </option>
        ))}
      </select>
    </search>
  );
}

function Table({ rows }: { rows: readonly Subscription[] }) {
  const navigate = useNavigate();
  return (
    <div className={styles.scroll}>
      <table className={styles.table} data-testid="subscriptions">
        <thead>
          <tr>
            <th scope="col">Customer</th>
            <th scope="col">Plan</th>
            <th scope="col">Status</th>
            <th scope="col">Period ends</th>
            <th scope="col">Renewal</th>
            <th scope="col">Access</th>
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr
              key={row.id}
              onClick={() => void navigate({ to: "/subscriptions/$id", params: { id: row.id } })}
            >
              <td>
                <Link
                  to="/subscriptions/$id"
                  params={{ id: row.id }}
                  className={styles.link}
                  onClick={(event) => event.stopPropagation()}
                >
                  {row.external_id ?? row.customer_id}
                </Link>
                <span className={`${styles.sub} mono`}>{row.id}</span>
              </td>
              <td>{row.plan_code}</td>
              <td>
                <Chip look={STATUS_LOOK[row.status] ?? STATUS_LOOK.incomplete} />
              </td>
              <td>
                <Period row={row} />
              </td>
              <td>
                {row.cancel_at_period_end ? (
                  "ends with the period"
                ) : row.auto_renew ? (
                  "automatic"
                ) : (
                  <span className="muted">by the customer</span>
                )}
              </td>
              <td>
                {row.provisioning === null ? (
                  <span className="muted">–</span>
                ) : (
                  <Chip look={provisioningLook(row.provisioning)} />
                )}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Period({ row }: { row: Subscription }) {
  const now = useDomainNow();
  if (row.period_end === null) return <span className="muted">–</span>;
  const end = Date.parse(row.period_end);
  const start = row.period_start === null ? end : Date.parse(row.period_start);
  const gone = end > start ? Math.min(1, Math.max(0, (now - start) / (end - start))) : 1;
  return (
    <span className={styles.period} title={utc(row.period_end)}>
      <span>
        {date(row.period_end)} <span className="muted">{relative(row.period_end, now)}</span>
      </span>
      <span className={styles.gauge}>
        <i style={{ width: `${gone * 100}%` }} data-late={gone === 1} />
      </span>
    </span>
  );
}
