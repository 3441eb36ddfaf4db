import { beforeEach, expect, test, vi } from "vitest";
import { QUEUE_LIMIT, QUEUE_TTL_MS } from "./commands";
import { tabStore } from "./tabStore";
import { Bench } from "./testing/bench";
import { Flood } from "./testing/fakes";

let bench: Bench;

beforeEach(() => {
  bench = new Bench();
});

test("a run is answered with its slot", async () => {
  const client = bench.connected();
  await expect(client.run("expiry", "", "k1")).resolves.toMatchObject({ slot_id: "slt_1" });
  expect(client.snapshot().waiting).toBe(0);
});

test("a run asked for offline is sent when the connection returns, once", async () => {
  const client = bench.build();
  const answer = client.run("expiry", "", "k1");
  expect(client.snapshot().waiting).toBe(1);
  client.connect();
  bench.server.last.accept();
  await expect(answer).resolves.toMatchObject({ slot_id: "slt_1", duplicate: false });
  expect(bench.server.last.framesOf("run")).toHaveLength(1);
});

test("a run whose answer was lost goes again with the same key and runs once", async () => {
  const client = bench.connected();
  bench.server.silent = true;
  const answer = client.run("expiry", "", "k1");
  bench.server.runs.set("k1", "slt_77");
  bench.server.last.end(1006);
  bench.server.silent = false;
  bench.reconnect(client);
  await expect(answer).resolves.toMatchObject({ slot_id: "slt_77", duplicate: true });
});

test("waiting commands survive a reload of the page", () => {
  bench
    .build()
    .run("expiry", "", "k1")
    .catch(() => undefined);
  const reloaded = bench.build();
  expect(reloaded.snapshot().waiting).toBe(1);
  reloaded.connect();
  bench.server.last.accept();
  expect(bench.server.runs.has("k1")).toBe(true);
  expect(reloaded.snapshot().waiting).toBe(0);
});

test("a command older than a day is not sent", async () => {
  const client = bench.build();
  const answer = client.run("expiry", "", "k1");
  bench.wall += QUEUE_TTL_MS + 1;
  client.connect();
  bench.server.last.accept();
  await expect(answer).rejects.toThrow(/24 hours/);
  expect(bench.server.runs.size).toBe(0);
});

test("the hundred and first waiting command is refused", async () => {
  const client = bench.build();
  for (let i = 0; i < QUEUE_LIMIT; i++) void client.run("expiry", "", `k${i}`);
  await expect(client.run("expiry", "", "one more")).rejects.toThrow(/100/);
  expect(client.snapshot().waiting).toBe(QUEUE_LIMIT);
});

test("a throttled command waits as long as it is told and goes again", async () => {
  const client = bench.connected();
  bench.server.refuseRunsWith = "throttled";
  const answer = client.run("expiry", "", "k1");
  bench.server.refuseRunsWith = null;
  expect(bench.server.runs.size).toBe(0);
  bench.timers.advance(700);
  await expect(answer).resolves.toMatchObject({ slot_id: "slt_1" });
});

test("a forbidden command is refused and not kept", async () => {
  const client = bench.connected();
  bench.server.refuseRunsWith = "forbidden";
  await expect(client.run("expiry", "", "k1")).rejects.toMatchObject({ code: "forbidden" });
  expect(client.snapshot().waiting).toBe(0);
});

test("signing out forgets the waiting commands", async () => {
  const client = bench.build();
  const answer = client.run("expiry", "", "k1");
  client.disconnect("signed_out");
  await expect(answer).rejects.toThrow("signed out");
  expect(bench.store.text).toBe("[]");
});

test("a hundred waiting commands go without the server taking them for a flood", async () => {
  const client = bench.build();
  const answers = Array.from({ length: QUEUE_LIMIT }, (_, n) => client.run("expiry", "", `k${n}`));
  bench.server.flood = new Flood(bench.timers);
  client.connect();
  bench.server.last.accept();
  bench.timers.advance(60_000);
  expect(bench.server.sockets).toHaveLength(1);
  expect(client.snapshot()).toMatchObject({ state: "OPEN", waiting: 0 });
  const slots = (await Promise.all(answers)).map((ack) => ack.slot_id);
  // Oldest first, each once.
  expect(slots).toEqual(Array.from({ length: QUEUE_LIMIT }, (_, n) => `slt_${n + 1}`));
});

test("a server that allows little is told less and less often, not cut off", () => {
  const client = bench.build();
  for (let n = 0; n < 20; n++) void client.run("expiry", "", `k${n}`);
  bench.server.flood = new Flood(bench.timers, 4, 1);
  client.connect();
  bench.server.last.accept();
  bench.timers.advance(300_000);
  expect(bench.server.sockets).toHaveLength(1);
  expect(client.snapshot().waiting).toBe(0);
});

test("while one is refused for its haste, the others wait with it", () => {
  const client = bench.connected();
  bench.server.refuseRunsWith = "throttled";
  for (let n = 0; n < 10; n++) void client.run("expiry", "", `k${n}`);
  expect(bench.server.last.framesOf("run")).toHaveLength(1);
  bench.timers.advance(699);
  expect(bench.server.last.framesOf("run")).toHaveLength(1);
  bench.timers.advance(1);
  expect(bench.server.last.framesOf("run")).toHaveLength(2);
});

test("a command taken back on its way does not hold up the next", async () => {
  const client = bench.connected();
  bench.server.silent = true;
  void client.run("expiry", "", "k1");
  const second = client.run("expiry", "", "k2");
  bench.server.silent = false;
  client.withdraw("k1");
  bench.timers.advance(1_000);
  await expect(second).resolves.toMatchObject({ slot_id: "slt_1" });
});

test("asking twice with one key is one command, and both are answered", async () => {
  const client = bench.build();
  const first = client.run("expiry", "", "k1");
  const second = client.run("expiry", "", "k1");
  expect(client.snapshot().waiting).toBe(1);
  client.connect();
  bench.server.last.accept();
  await expect(first).resolves.toMatchObject({ slot_id: "slt_1" });
  await expect(second).resolves.toMatchObject({ slot_id: "slt_1" });
  expect(bench.server.last.framesOf("run")).toHaveLength(1);
});

test("discarding answers also those that had waited too long", async () => {
  const client = bench.build();
  const answer = client.run("expiry", "", "k1");
  bench.wall += QUEUE_TTL_MS + 1;
  client.discardWaiting();
  await expect(answer).rejects.toThrow();
  expect(client.snapshot().waiting).toBe(0);
});

test("a damaged store is an empty one", () => {
  for (const text of ["{", '"x"', '[{"key":1}]', "[null]"]) {
    bench.store.text = text;
    expect(bench.build().snapshot().waiting).toBe(0);
  }
});

test("where the browser keeps nothing, commands wait as long as the page lives", async () => {
  const blocked = tabStore(() => {
    throw new Error("SecurityError");
  }, "commands");
  expect(blocked.load()).toBeNull();
  const setItem = vi.fn(() => {
    throw new Error("QuotaExceededError");
  });
  const full = tabStore(() => ({ getItem: () => null, setItem }), "commands");
  bench.store.save = (text) => full.save(text);
  const client = bench.build();
  const answer = client.run("expiry", "", "k1");
  expect(setItem).toHaveBeenCalled();
  client.connect();
  bench.server.last.accept();
  await expect(answer).resolves.toMatchObject({ slot_id: "slt_1" });
});
