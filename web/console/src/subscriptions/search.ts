import { STATUSES, type SubscriptionStatus } from "@/http/model";

export interface ListSearch {
  status?: SubscriptionStatus;
  /** A customer's id, or the identifier that the seller's own service uses. */
  customer?: string;
}

export function readListSearch(raw: Record<string, unknown>): ListSearch {
  const search: ListSearch = {};
  const status = STATUSES.find((one) => one === raw.status);
  if (status !== undefined) search.status = status;
  if (raw.customer !== undefined && String(raw.customer).trim() !== "") {
    search.customer = String(raw.customer).trim();
  }
  return search;
}
