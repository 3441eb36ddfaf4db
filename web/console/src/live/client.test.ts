import { beforeEach, describe, expect, test, vi } from "vitest";
import { type Credentials, LiveClient, type LiveState } from "./client";
import { QUEUE_LIMIT, QUEUE_TTL_MS } from "./commands";
import type { LiveEvent } from "./protocol";
import { FakeServer, ManualTimers, MemoryStore } from "./testing/fakes";

let server: FakeServer;
let timers: ManualTimers;
let store: MemoryStore;
let wall: number;
let credentials: Credentials & { value: string; refresh: ReturnType<typeof vi.fn> };

function build(random = () => 0.5): LiveClient {
  return new LiveClient({
    open: server.open,
    timers,
    random,
    credentials,
    store,
    wallClock: () => wall,
  });
}

function connected(): LiveClient {
  const client = build();
  client.connect();
  server.last.accept();
  return client;
}

function follow(client: LiveClient, channel: string) {
  const seen: number[] = [];
  const resyncs = vi.fn();
  const stop = client.subscribe(channel, {
    onEvent: (event: LiveEvent) => seen.push(event.offset),
    onResync: resyncs,
  });
  return { seen, resyncs, stop };
}

function reconnect(client: LiveClient): void {
  timers.advance((client.snapshot().nextAttemptAt ?? 0) - timers.now());
  server.last.accept();
}

beforeEach(() => {
  server = new FakeServer();
  timers = new ManualTimers();
  store = new MemoryStore();
  wall = 1_700_000_000_000;
  credentials = {
    value: "token-1",
    token: () => credentials.value,
    refresh: vi.fn(async () => "ok" as const),
  };
});

describe("connecting", () => {
  test("a connection passes through each state once", () => {
    const client = build();
    const states: LiveState[] = [];
    client.watch(() => {
      const { state } = client.snapshot();
      if (states.at(-1) !== state) states.push(state);
    });
    client.connect();
    server.last.accept();
    client.disconnect("signed_out");
    expect(states).toEqual(["CONNECTING", "AUTH", "OPEN", "CLOSING", "CLOSED"]);
  });

  test("fifty connects in one tick open one socket", () => {
    const client = build();
    for (let i = 0; i < 50; i++) client.connect();
    expect(server.sockets).toHaveLength(1);
    server.last.accept();
    for (let i = 0; i < 50; i++) client.connect();
    expect(server.sockets).toHaveLength(1);
  });

  test("connects asked for while closing open one socket after the close", () => {
    const client = connected();
    server.ignoresClose = true;
    client.disconnect("hidden");
    for (let i = 0; i < 50; i++) client.connect();
    expect(server.sockets).toHaveLength(1);
    timers.advance(1_000);
    expect(server.sockets).toHaveLength(2);
    expect(client.snapshot().state).toBe("CONNECTING");
  });

  test("a handshake without an answer is left after ten seconds and tried again", () => {
    const client = build();
    client.connect();
    server.silent = true;
    server.last.accept();
    expect(client.snapshot().state).toBe("AUTH");
    timers.advance(10_000);
    expect(client.snapshot().state).toBe("RECONNECTING");
  });

  test("a late close of an old socket does not disturb the new one", () => {
    const client = build();
    client.connect();
    server.ignoresClose = true;
    const old = server.last;
    timers.advance(10_000);
    reconnect(client);
    old.end(1006);
    expect(client.snapshot().state).toBe("OPEN");
  });

  test("the wait doubles with full jitter, never passes thirty seconds, and slows after five", () => {
    const client = build(() => 0.999);
    client.connect();
    const waits: number[] = [];
    for (let i = 0; i < 8; i++) {
      server.last.end(1006);
      const { nextAttemptAt, attempt } = client.snapshot();
      expect(attempt).toBe(i + 1);
      waits.push((nextAttemptAt ?? 0) - timers.now());
      timers.advance((nextAttemptAt ?? 0) - timers.now());
    }
    expect(waits.slice(0, 5)).toEqual([499, 999, 1998, 3996, 7992]);
    expect(waits[7]).toBe(29_970);
    expect(Math.min(...waits.slice(5))).toBeGreaterThanOrEqual(5_000);
  });

  test("failures are forgotten only after thirty healthy seconds", () => {
    const client = build();
    client.connect();
    server.last.end(1006);
    reconnect(client);
    expect(client.snapshot()).toMatchObject({ state: "OPEN", attempt: 1 });
    timers.advance(30_000);
    expect(client.snapshot().attempt).toBe(0);
  });

  test("retry now skips the wait", () => {
    const client = build();
    client.connect();
    server.last.end(1006);
    client.connect();
    expect(server.sockets).toHaveLength(2);
    timers.advance(5_000);
    expect(server.sockets).toHaveLength(2);
  });
});

describe("close codes", () => {
  test("4001 refreshes the token once and returns with it", async () => {
    credentials.value = "old";
    credentials.refresh = vi.fn(async () => {
      credentials.value = "token-1";
      return "ok" as const;
    });
    const client = build();
    client.connect();
    server.last.accept();
    await Promise.resolve();
    expect(credentials.refresh).toHaveBeenCalledTimes(1);
    server.last.accept();
    expect(client.snapshot().state).toBe("OPEN");
  });

  test("a second 4001 ends at the sign-in, without a loop", async () => {
    credentials.value = "revoked";
    const client = build();
    client.connect();
    server.last.accept();
    await Promise.resolve();
    server.last.accept();
    await Promise.resolve();
    expect(client.snapshot()).toMatchObject({ state: "CLOSED", reason: "expired" });
    expect(credentials.refresh).toHaveBeenCalledTimes(1);
    timers.advance(120_000);
    expect(server.sockets).toHaveLength(2);
  });

  test("a refused refresh ends at the sign-in", async () => {
    credentials.value = "revoked";
    credentials.refresh = vi.fn(async () => "denied" as const);
    const client = build();
    client.connect();
    server.last.accept();
    await Promise.resolve();
    expect(client.snapshot()).toMatchObject({ state: "CLOSED", reason: "expired" });
  });

  test.each([
    [4003, "forbidden"],
    [4000, "protocol"],
    [1009, "protocol"],
  ])("%i is never retried by itself", (code, reason) => {
    const client = connected();
    server.last.end(code);
    expect(client.snapshot()).toMatchObject({ state: "CLOSED", reason });
    timers.advance(600_000);
    expect(server.sockets).toHaveLength(1);
  });

  test("a goodbye names the moment of the return", () => {
    const client = connected();
    server.last.deliver({ event: "goodbye", reason: "drain", reconnect_in_ms: 3_210 });
    server.last.end(1001);
    expect((client.snapshot().nextAttemptAt ?? 0) - timers.now()).toBe(3_210);
  });

  test("a throttled client waits at least thirty seconds", () => {
    const client = connected();
    server.last.end(4029);
    expect((client.snapshot().nextAttemptAt ?? 0) - timers.now()).toBeGreaterThanOrEqual(30_000);
  });

  test("4010 forgets the places and reads everything again", () => {
    const client = connected();
    const { resyncs } = follow(client, "iterations");
    server.publish("iterations");
    resyncs.mockClear();
    server.last.end(4010);
    reconnect(client);
    expect(server.last.framesOf("subscribe")[0]).not.toHaveProperty("since");
    expect(resyncs).toHaveBeenCalledTimes(1);
  });
});

describe("channels", () => {
  test("a fresh subscription asks its readers to read again once", () => {
    const client = connected();
    const { resyncs } = follow(client, "iterations");
    expect(resyncs).toHaveBeenCalledTimes(1);
    expect(resyncs).toHaveBeenCalledWith("subscribed");
  });

  test("what was missed while away arrives once and in order", () => {
    const client = connected();
    const { seen, resyncs } = follow(client, "iterations");
    server.publish("iterations");
    server.last.end(1006);
    for (let i = 0; i < 7; i++) server.publish("iterations", {}, { lose: true });
    resyncs.mockClear();
    reconnect(client);
    server.publish("iterations");
    expect(seen).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(resyncs).not.toHaveBeenCalled();
  });

  test("too long an absence reads again over HTTP and continues from the new place", () => {
    const client = connected();
    const { seen, resyncs } = follow(client, "iterations");
    server.publish("iterations");
    server.last.end(1006);
    for (let i = 0; i < 150; i++) server.publish("iterations", {}, { lose: true });
    resyncs.mockClear();
    reconnect(client);
    expect(resyncs).toHaveBeenCalledTimes(1);
    expect(resyncs).toHaveBeenCalledWith("lost");
    server.publish("iterations");
    expect(seen).toEqual([1, 152]);
  });

  test("a message seen before is dropped", () => {
    const client = connected();
    const { seen } = follow(client, "iterations");
    server.publish("iterations");
    server.publish("iterations");
    server.emit(server.last, "iterations", 1);
    server.emit(server.last, "iterations", 2);
    expect(seen).toEqual([1, 2]);
  });

  test("a hole is repaired by one resubscription, and nothing is seen twice", () => {
    const client = connected();
    const { seen } = follow(client, "iterations");
    server.publish("iterations");
    server.publish("iterations", {}, { lose: true });
    server.publish("iterations", {}, { lose: true });
    server.publish("iterations");
    expect(seen).toEqual([1, 2, 3, 4]);
    expect(server.last.framesOf("subscribe")).toHaveLength(2);
    expect(server.last.framesOf("subscribe")[1]).toMatchObject({
      since: { iterations: { offset: 1, epoch: "e1" } },
    });
  });

  test("messages that overtake the replay do not start a second one", () => {
    const client = connected();
    const { seen } = follow(client, "iterations");
    server.publish("iterations");
    for (let i = 0; i < 3; i++) server.publish("iterations", {}, { lose: true });
    server.silent = true;
    server.emit(server.last, "iterations", 3);
    server.emit(server.last, "iterations", 4);
    expect(server.last.framesOf("subscribe")).toHaveLength(2);
    expect(seen).toEqual([1]);
    server.silent = false;
    const again = server.last.framesOf("subscribe")[1];
    if (again === undefined) throw new Error("no resubscription");
    server.hear(server.last, again);
    expect(seen).toEqual([1, 2, 3, 4]);
  });

  test("a sample without a place is shown and moves nothing", () => {
    const client = connected();
    const { seen, resyncs } = follow(client, "queues");
    resyncs.mockClear();
    const sample = {
      event: "event",
      channel: "queues",
      offset: 0,
      epoch: "",
      type: "queue.sample",
    };
    server.last.deliver(sample);
    server.last.deliver(sample);
    server.publish("queues");
    expect(seen).toEqual([0, 0, 1]);
    expect(resyncs).not.toHaveBeenCalled();
  });

  test("a new epoch is followed and read again", () => {
    const client = connected();
    const { seen, resyncs } = follow(client, "iterations");
    server.publish("iterations");
    resyncs.mockClear();
    server.epoch = "e2";
    server.history.clear();
    server.publish("iterations");
    expect(seen).toEqual([1, 1]);
    expect(resyncs).toHaveBeenCalledTimes(1);
  });

  test("what a new memory tells again under new offsets is not shown again", () => {
    const client = connected();
    const { seen, resyncs } = follow(client, "iterations");
    for (let i = 0; i < 3; i++) server.publish("iterations");
    resyncs.mockClear();
    const told = server.history.get("iterations") ?? [];
    server.epoch = "e2";
    server.history.set(
      "iterations",
      told.slice(1).map((entry, at) => ({ ...entry, offset: at + 1 })),
    );
    for (const offset of [1, 2]) server.emit(server.last, "iterations", offset);
    server.publish("iterations");
    expect(seen).toEqual([1, 2, 3, 3]);
    expect(client.recent("iterations").map((event) => event.seq)).toEqual([1, 2, 3, 4]);
    expect(resyncs).toHaveBeenCalledTimes(1);
  });

  test("the first event ever of a channel is no loss", () => {
    server.epoch = "";
    const client = connected();
    const { seen, resyncs } = follow(client, "iterations");
    resyncs.mockClear();
    server.epoch = "e1";
    server.publish("iterations");
    expect(seen).toEqual([1]);
    expect(resyncs).not.toHaveBeenCalled();
  });

  test("a gap that the server reports moves the place and reads again", () => {
    const client = connected();
    const { seen, resyncs } = follow(client, "iterations");
    server.publish("iterations");
    for (let i = 0; i < 4; i++) server.publish("iterations", {}, { lose: true });
    resyncs.mockClear();
    server.last.deliver({ event: "gap", channel: "iterations", from: 2, to: 5 });
    server.publish("iterations");
    expect(resyncs).toHaveBeenCalledTimes(1);
    expect(seen).toEqual([1, 6]);
  });

  test("a view keeps the last hundred messages", () => {
    const client = connected();
    follow(client, "iterations");
    for (let i = 0; i < 130; i++) server.publish("iterations");
    const offsets = client.recent("iterations").map((event) => event.offset);
    expect(offsets).toHaveLength(100);
    expect(offsets[0]).toBe(31);
  });

  test("a channel nobody listens to is left after a moment, not between two screens", () => {
    const client = connected();
    const first = follow(client, "iterations");
    first.stop();
    const second = follow(client, "iterations");
    timers.advance(6_000);
    expect(server.last.framesOf("unsubscribe")).toHaveLength(0);
    second.stop();
    timers.advance(6_000);
    expect(server.last.framesOf("unsubscribe")).toHaveLength(1);
  });
});

describe("heartbeat", () => {
  test("the round trip is measured after opening", () => {
    const client = connected();
    expect(client.snapshot().rttMs).toBe(0);
  });

  test("the time from asking to being signed in is reported", () => {
    const client = build();
    client.connect();
    expect(client.snapshot().connectMs).toBeNull();
    timers.advance(340);
    server.last.accept();
    expect(client.snapshot()).toMatchObject({ state: "OPEN", connectMs: 340 });
  });

  test("a ping is sent only on a quiet line", () => {
    const client = connected();
    follow(client, "queues");
    // The second measure of the round trip, once the line has proved healthy.
    timers.advance(20_000);
    server.publish("queues");
    timers.advance(11_000);
    const before = server.last.framesOf("ping").length;
    for (let i = 0; i < 60; i++) {
      timers.advance(2_000);
      server.publish("queues");
    }
    expect(server.last.framesOf("ping")).toHaveLength(before);
    timers.advance(26_000);
    expect(server.last.framesOf("ping")).toHaveLength(before + 1);
  });

  test("a line that answers no ping is replaced", () => {
    const client = connected();
    server.silent = true;
    timers.advance(25_000);
    timers.advance(10_000);
    expect(client.snapshot().state).toBe("RECONNECTING");
  });

  test("a probe finds a dead line in three seconds", () => {
    const client = connected();
    server.silent = true;
    client.probe();
    timers.advance(3_000);
    expect(client.snapshot().state).toBe("RECONNECTING");
  });
});

describe("commands", () => {
  test("a run is answered with its slot", async () => {
    const client = connected();
    await expect(client.run("expiry", "", "k1")).resolves.toMatchObject({ slot_id: "slt_1" });
    expect(client.snapshot().waiting).toBe(0);
  });

  test("a run asked for offline is sent when the connection returns, once", async () => {
    const client = build();
    const answer = client.run("expiry", "", "k1");
    expect(client.snapshot().waiting).toBe(1);
    client.connect();
    server.last.accept();
    await expect(answer).resolves.toMatchObject({ slot_id: "slt_1", duplicate: false });
    expect(server.last.framesOf("run")).toHaveLength(1);
  });

  test("a run whose answer was lost goes again with the same key and runs once", async () => {
    const client = connected();
    server.silent = true;
    const answer = client.run("expiry", "", "k1");
    server.runs.set("k1", "slt_77");
    server.last.end(1006);
    server.silent = false;
    reconnect(client);
    await expect(answer).resolves.toMatchObject({ slot_id: "slt_77", duplicate: true });
  });

  test("waiting commands survive a reload of the page", () => {
    build()
      .run("expiry", "", "k1")
      .catch(() => undefined);
    const reloaded = build();
    expect(reloaded.snapshot().waiting).toBe(1);
    reloaded.connect();
    server.last.accept();
    expect(server.runs.has("k1")).toBe(true);
    expect(reloaded.snapshot().waiting).toBe(0);
  });

  test("a command older than a day is not sent", async () => {
    const client = build();
    const answer = client.run("expiry", "", "k1");
    wall += QUEUE_TTL_MS + 1;
    client.connect();
    server.last.accept();
    await expect(answer).rejects.toThrow(/24 hours/);
    expect(server.runs.size).toBe(0);
  });

  test("the hundred and first waiting command is refused", async () => {
    const client = build();
    for (let i = 0; i < QUEUE_LIMIT; i++) void client.run("expiry", "", `k${i}`);
    await expect(client.run("expiry", "", "one more")).rejects.toThrow(/100/);
    expect(client.snapshot().waiting).toBe(QUEUE_LIMIT);
  });

  test("a throttled command waits as long as it is told and goes again", async () => {
    const client = connected();
    server.refuseRunsWith = "throttled";
    const answer = client.run("expiry", "", "k1");
    server.refuseRunsWith = null;
    expect(server.runs.size).toBe(0);
    timers.advance(700);
    await expect(answer).resolves.toMatchObject({ slot_id: "slt_1" });
  });

  test("a forbidden command is refused and not kept", async () => {
    const client = connected();
    server.refuseRunsWith = "forbidden";
    await expect(client.run("expiry", "", "k1")).rejects.toMatchObject({ code: "forbidden" });
    expect(client.snapshot().waiting).toBe(0);
  });

  test("signing out forgets the waiting commands", async () => {
    const client = build();
    const answer = client.run("expiry", "", "k1");
    client.disconnect("signed_out");
    await expect(answer).rejects.toThrow("signed out");
    expect(store.text).toBe("[]");
  });
});

describe("tokens", () => {
  test("a new token is told to the open connection", () => {
    const client = connected();
    credentials.value = "token-2";
    client.tokenChanged();
    expect(server.last.framesOf("auth-refresh")).toEqual([
      { type: "auth-refresh", token: "token-2" },
    ]);
  });

  test("an expiring session is refreshed", () => {
    connected();
    server.last.deliver({ event: "auth_expiring" });
    expect(credentials.refresh).toHaveBeenCalledTimes(1);
  });

  test("unknown and damaged frames change nothing", () => {
    const client = connected();
    const before = client.snapshot();
    server.last.deliver({ event: "something.new" });
    server.last.onmessage?.({ data: "{" });
    server.last.onmessage?.({ data: new ArrayBuffer(2) });
    expect(client.snapshot()).toEqual(before);
  });
});
