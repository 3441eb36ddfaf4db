import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import { type FormEvent, useState } from "react";
import { useDomainNow } from "@/app/domainClock";
import { api } from "@/app/services";
import type { Page } from "@/http/api";
import { STATUSES, type Subscription } from "@/http/model";
import { useChannel } from "@/live/useLive";
import { Button } from "@/ui/Button";
import { Chip } from "@/ui/Chip";
import { Dialog, DialogBody, DialogFoot, Field } from "@/ui/Dialog";
import { Choice, Filters } from "@/ui/Filters";
import { Icon } from "@/ui/Icon";
import { narrowed } from "@/ui/narrowed";
import { Pages } from "@/ui/Pages";
import { Empty, Panel } from "@/ui/Panel";
import { Row, Table } from "@/ui/Table";
import { date, relative, utc } from "@/ui/time";
import { PAGE, usePages } from "@/ui/usePages";
import { useReread } from "@/ui/useReread";
import styles from "./List.module.css";
import { provisioningLook, STATUS_LOOK } from "./look";
import { STANDARD, sameSearch, useSavedViews, type View } from "./savedViews";
import type { ListSearch } from "./search";

const KEY = ["subscriptions"] as const;
const REREAD_MS = 1_000;
const STATUS_OPTIONS = STATUSES.map((value) => ({ value, word: STATUS_LOOK[value].word }));
const COLUMNS = ["Customer", "Plan", "Status", "Period ends", "Renewal", "Access"] as const;

function useSubscriptions(search: ListSearch) {
  return usePages([...KEY, search], (cursor, signal) => {
    const query = { ...search, limit: PAGE, cursor };
    return api.get<Page<Subscription>>("/api/v1/subscriptions", query, signal);
  });
}

export function SubscriptionList() {
  const search = useSearch({ from: "/subscriptions" });
  const navigate = useNavigate({ from: "/subscriptions" });
  const query = useSubscriptions(search);
  const reread = useReread(KEY, REREAD_MS);
  const go = (next: ListSearch) => void navigate({ search: next });
  useChannel("subscriptions", { onEvent: reread, onResync: reread });
  return (
    <>
      <Views search={search} onGo={go} />
      <Panel title="Subscriptions" note="newest first, live">
        <SubscriptionFilters key={search.customer ?? ""} search={search} onGo={go} />
        <Pages query={query} empty={<NoRows search={search} onGo={go} />} more="Load more">
          {(subscriptions) => <Subscriptions subscriptions={subscriptions} />}
        </Pages>
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

interface SubscriptionFiltersProps {
  search: ListSearch;
  onGo: (search: ListSearch) => void;
}

function SubscriptionFilters({ search, onGo }: SubscriptionFiltersProps) {
  const [typed, setTyped] = useState(search.customer ?? "");
  return (
    <Filters>
      <form
        className={styles.search}
        onSubmit={(event) => {
          event.preventDefault();
          onGo(narrowed(search, { customer: typed.trim() }));
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
            if (event.target.value === "" && search.customer !== undefined) {
              onGo(narrowed(search, { customer: "" }));
            }
          }}
        />
      </form>
      <Choice
        label="Status"
        all="All statuses"
        value={search.status}
        options={STATUS_OPTIONS}
        onChange={(status) => onGo(narrowed(search, { status }))}
      />
    </Filters>
  );
}

function Subscriptions({ subscriptions }: { subscriptions: readonly Subscription[] }) {
  const navigate = useNavigate();
  return (
    <Table name="subscriptions" columns={COLUMNS} tall>
      {subscriptions.map((one) => (
        <Row
          key={one.id}
          onOpen={() => void navigate({ to: "/subscriptions/$id", params: { id: one.id } })}
        >
          <td>
            <Link
              to="/subscriptions/$id"
              params={{ id: one.id }}
              className={styles.link}
              onClick={(event) => event.stopPropagation()}
            >
              {one.external_id ?? one.customer_id}
            </Link>
            <span className={`${styles.sub} mono`}>{one.id}</span>
          </td>
          <td>{one.plan_code}</td>
          <td>
            <Chip look={STATUS_LOOK[one.status] ?? STATUS_LOOK.incomplete} />
          </td>
          <td>
            <Period row={one} />
          </td>
          <td>
            {one.cancel_at_period_end ? (
              "ends with the period"
            ) : one.auto_renew ? (
              "automatic"
            ) : (
              <span className="muted">by the customer</span>
            )}
          </td>
          <td>
            {one.provisioning === null ? (
              <span className="muted">–</span>
            ) : (
              <Chip look={provisioningLook(one.provisioning)} />
            )}
          </td>
        </Row>
      ))}
    </Table>
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
