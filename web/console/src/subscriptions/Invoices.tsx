import type { Invoice } from "@/http/model";
import { Chip } from "@/ui/Chip";
import { Empty, Loaded, Panel } from "@/ui/Panel";
import styles from "./Detail.module.css";
import { useInvoices } from "./data";
import { invoiceLook, money } from "./look";

export function InvoicesPanel({ id }: { id: string }) {
  const query = useInvoices(id);
  return (
    <Panel title="Invoices">
      <Loaded query={query} rows={3}>
        {(invoices) =>
          invoices.length === 0 ? (
            <Empty>No invoice has been opened for this subscription.</Empty>
          ) : (
            <ul className={styles.invoices}>
              {invoices.map((invoice) => (
                <Row key={invoice.id} invoice={invoice} />
              ))}
            </ul>
          )
        }
      </Loaded>
    </Panel>
  );
}

function Row({ invoice }: { invoice: Invoice }) {
  const odd = invoice.exception !== null && invoice.exception !== "none";
  return (
    <li>
      <span>
        <b>{invoice.number}</b> <span className="muted">{invoice.method}</span>
      </span>
      <span className={styles.right}>{money(invoice.amount)}</span>
      <span>
        <Chip look={invoiceLook(invoice)} />{" "}
        {odd && <Chip look={{ tone: "warn", icon: "alert", word: invoice.exception ?? "" }} />}
      </span>
      <span className={styles.right}>
        {invoice.status === "open" && invoice.checkout_url !== null && (
          <a href={invoice.checkout_url} target="_blank" rel="noreferrer">
            Checkout
          </a>
        )}
      </span>
      {invoice.confirmations !== null && invoice.confirmations.required > 0 && (
        <Confirmations {...invoice.confirmations} />
      )}
    </li>
  );
}

function Confirmations({ seen, required }: { seen: number; required: number }) {
  return (
    <span className={styles.confirm}>
      <span className={styles.track}>
        <i style={{ width: `${Math.min(1, seen / required) * 100}%` }} />
      </span>
      {Math.min(seen, required)} of {required} confirmations
    </span>
  );
}
