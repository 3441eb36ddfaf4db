import { useQueryClient } from "@tanstack/react-query";
import { Link, useParams } from "@tanstack/react-router";
import { type ReactNode, useState } from "react";
import { useDomainNow } from "@/app/domainClock";
import { useMay } from "@/app/useUser";
import type { Subscription } from "@/http/model";
import { isProblem } from "@/http/problem";
import { Button, buttonClass } from "@/ui/Button";
import { Chip } from "@/ui/Chip";
import { Copyable } from "@/ui/Copyable";
import { Icon } from "@/ui/Icon";
import { Empty, Loaded, Panel } from "@/ui/Panel";
import { moment, relative, utc } from "@/ui/time";
import { ActionDialog } from "./ActionDialog";
import { ACTIONS } from "./actions";
import styles from "./Detail.module.css";
import { useCustomer, useLiveSubscription, useSubscription } from "./data";
import { InvoicesPanel } from "./Invoices";
import { Lifeline } from "./Lifeline";
import { provisioningLook, STATUS_LOOK } from "./look";
import { TimelinePanel } from "./Timeline";

export function SubscriptionDetail() {
  const { id } = useParams({ from: "/subscriptions/$id" });
  const client = useQueryClient();
  const query = useSubscription(id);
  useLiveSubscription(client, id);
  const missing = isProblem(query.error) && query.error.status === 404;
  return (
    <div className={styles.page}>
      <Link to="/subscriptions" className={styles.back}>
        <Icon name="left" size={14} /> All subscriptions
      </Link>
      {missing ? (
        <Panel title="Not found">
          <Empty
            action={
              <Link to="/subscriptions" className={buttonClass()}>
                See all subscriptions
              </Link>
            }
          >
            There is no subscription <span className="mono">{id}</span>.
          </Empty>
        </Panel>
      ) : (
        <>
          <Panel title="Subscription" actions={<Copyable text={id} />}>
            <Loaded query={query} rows={4}>
              {(subscription) => <Head subscription={subscription} />}
            </Loaded>
          </Panel>
          <div className={styles.columns}>
            <TimelinePanel id={id} />
            <InvoicesPanel id={id} />
          </div>
        </>
      )}
    </div>
  );
}

function Head({ subscription }: { subscription: Subscription }) {
  const customer = useCustomer(subscription.customer_id);
  const { provisioning } = subscription;
  const holds = Array.isArray(subscription.holds) ? subscription.holds.length : 0;
  return (
    <div className={styles.head}>
      <div className={styles.top}>
        <h2>
          {subscription.external_id ?? customer.data?.external_id ?? subscription.customer_id}
        </h2>
        <Chip look={STATUS_LOOK[subscription.status] ?? STATUS_LOOK.incomplete} />
        {provisioning !== null && <Chip look={provisioningLook(provisioning)} />}
        {subscription.cancel_at_period_end && (
          <Chip look={{ tone: "warn", icon: "stop", word: "ends with the period" }} />
        )}
        {holds > 0 && (
          <Chip
            look={{
              tone: "warn",
              icon: "pause",
              word: `${holds} ${holds === 1 ? "hold" : "holds"}`,
            }}
          />
        )}
        <Actions subscription={subscription} />
      </div>
      <Lifeline subscription={subscription} />
      <dl className={styles.facts}>
        <Fact name="Plan">{subscription.plan_code}</Fact>
        <Fact name="Email">{customer.data?.email ?? "–"}</Fact>
        <Fact name="Period ends">
          <When iso={subscription.period_end} />
        </Fact>
        <Fact name="Grace until">
          <When iso={subscription.grace_until} />
        </Fact>
        <Fact name="Access until">
          <When iso={subscription.access_until} />
        </Fact>
        <Fact name="Renewal">{subscription.auto_renew ? "automatic" : "by the customer"}</Fact>
        {provisioning !== null && (
          <Fact name="Generation applied">
            {provisioning.applied_generation} of {provisioning.desired_generation}
          </Fact>
        )}
        {provisioning?.last_error && provisioning.state !== "in_sync" && (
          <Fact name="Last refusal">{provisioning.last_error}</Fact>
        )}
      </dl>
    </div>
  );
}

function Fact({ name, children }: { name: string; children: ReactNode }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

function When({ iso }: { iso: string | null }) {
  const now = useDomainNow();
  if (iso === null) return <>–</>;
  return (
    <span title={utc(iso)}>
      {moment(iso)} <span className="muted nowrap">{relative(iso, now)}</span>
    </span>
  );
}

function Actions({ subscription }: { subscription: Subscription }) {
  const may = useMay("operator");
  const [open, setOpen] = useState<(typeof ACTIONS)[number] | null>(null);
  if (!may) return null;
  return (
    <div className={styles.actions}>
      {ACTIONS.filter((action) => action.allowed(subscription)).map((action) => (
        <Button
          key={action.name}
          small
          tone={action.danger ? "danger" : "plain"}
          onClick={() => setOpen(action)}
        >
          {action.label}
        </Button>
      ))}
      {open !== null && (
        <ActionDialog action={open} subscription={subscription} onClose={() => setOpen(null)} />
      )}
    </div>
  );
}
