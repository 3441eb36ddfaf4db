import { describe, expect, test } from "vitest";
import { details } from "./details";
import { money } from "./look";
import { parseViews } from "./savedViews";
import { readListSearch } from "./search";

describe("the data of a timeline entry", () => {
  test("empty values are left out and the rest stays text", () => {
    expect(details({ to: "<b>x</b>", reason: null, note: "", list: [], ok: true })).toEqual([
      ["to", "<b>x</b>"],
      ["ok", "yes"],
    ]);
  });

  test("an operator's change shows only what differs", () => {
    const data = {
      actor: "a@b.c",
      before: { status: "active", x: 1 },
      after: { status: "paused", x: 1 },
    };
    expect(details(data)).toEqual([
      ["actor", "a@b.c"],
      ["status", "active → paused"],
    ]);
  });

  test("a change that names other fields than what stood is not a loss of these", () => {
    const data = { before: { status: "open" }, after: { payment_id: "pay_1", period_end: null } };
    expect(details(data)).toEqual([["payment id", "pay_1"]]);
  });

  test("money and confirmations read as such", () => {
    const amount = { amount_minor: 999, currency: "USD" };
    expect(details({ amount, confirmations: { seen: 3, required: 12 } })).toEqual([
      ["amount", "$9.99"],
      ["confirmations", "3 of 12"],
    ]);
  });
});

describe("what a link or this browser carries", () => {
  test("a filter that does not exist is dropped", () => {
    expect(readListSearch({ status: "gone", customer: " acme " })).toEqual({ customer: "acme" });
  });

  test("saved views that are damaged are ignored", () => {
    expect(parseViews("{")).toEqual([]);
    expect(parseViews('[{"name":"x","search":{"status":"active"}},{"name":1}]')).toEqual([
      { name: "x", search: { status: "active" } },
    ]);
  });
});

describe("money", () => {
  test("minor units follow the currency's own decimals", () => {
    expect(money({ amount_minor: 999, currency: "USD" })).toBe("$9.99");
    expect(money({ amount_minor: 999, currency: "JPY" })).toBe("¥999");
    expect(money(null)).toBe("–");
  });
});
