import { describe, expect, test } from "vitest";
import { narrowed } from "./narrowed";

interface Filter {
  job?: string;
  scope?: string;
  open?: true;
}

describe("a filter after a change", () => {
  test("keeps what the change does not name", () => {
    const before: Filter = { job: "expiry", open: true };
    expect(narrowed(before, { scope: "eu" })).toEqual({ job: "expiry", open: true, scope: "eu" });
  });

  test("leaves out what narrows nothing", () => {
    const before: Filter = { job: "expiry", scope: "eu", open: true };
    expect(narrowed(before, { job: "", open: undefined })).toEqual({ scope: "eu" });
  });
});
