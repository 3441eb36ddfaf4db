import { useState } from "react";
import { type ListSearch, readListSearch } from "./search";

export interface View {
  name: string;
  search: ListSearch;
}

export const STANDARD: readonly View[] = [
  { name: "All", search: {} },
  { name: "In grace", search: { status: "past_due" } },
  { name: "In trial", search: { status: "trialing" } },
  { name: "Waiting for payment", search: { status: "incomplete" } },
  { name: "Expired", search: { status: "expired" } },
];

const KEY = "tenure.subscription-views";
const MOST = 20;

export function parseViews(text: string | null): View[] {
  if (text === null) return [];
  try {
    const parsed: unknown = JSON.parse(text);
    if (!Array.isArray(parsed)) return [];
    return parsed
      .filter((one) => typeof one?.name === "string" && typeof one?.search === "object")
      .map((one) => ({ name: String(one.name), search: readListSearch(one.search ?? {}) }))
      .slice(0, MOST);
  } catch {
    // Whatever stood there was not written by this screen.
    return [];
  }
}

export const sameSearch = (a: ListSearch, b: ListSearch): boolean =>
  a.status === b.status && a.customer === b.customer;

/** Views that this browser keeps; they hold filters, nothing about a customer beyond the one searched for. */
export function useSavedViews() {
  const [views, setViews] = useState(() => parseViews(localStorage.getItem(KEY)));
  const store = (next: View[]): void => {
    localStorage.setItem(KEY, JSON.stringify(next));
    setViews(next);
  };
  return {
    views,
    save: (view: View) =>
      store([...views.filter((one) => one.name !== view.name), view].slice(-MOST)),
    remove: (name: string) => store(views.filter((one) => one.name !== name)),
  };
}
