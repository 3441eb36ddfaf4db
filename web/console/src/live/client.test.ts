import { beforeEach, describe, expect, test } from "vitest";
import type { LiveState } from "./client";
import { Bench } from "./testing/bench";

let bench: Bench;

beforeEach(() => {
  bench = new Bench();
});

describe("connecting", () => {
  test("a connection passes through each state once", () => {
    const client = bench.build();
    const states: LiveState[] = [];
    client.watch(() => {
      const { state } = client.snapshot();
      if (states.at(-1) !== state) states.push(state);
    });
    client.connect();
    bench.server.last.accept();
    client.disconnect("signed_out");
    expect(states).toEqual(["CONNECTING", "AUTH", "OPEN", "CLOSING", "CLOSED"]);
  });

  test("fifty connects in one tick open one socket", () => {
    const client = bench.build();
    for (let i = 0; i < 50; i++) client.connect();
    expect(bench.server.sockets).toHaveLength(1);
    bench.server.last.accept();
    for (let i = 0; i < 50; i++) client.connect();
    expect(bench.server.sockets).toHaveLength(1);
  });

  test("connects asked for while closing open one socket after the close", () => {
    const client = bench.connected();
    bench.server.ignoresClose = true;
    client.disconnect("hidden");
    for (let i = 0; i < 50; i++) client.connect();
    expect(bench.server.sockets).toHaveLength(1);
    bench.timers.advance(1_000);
    expect(bench.server.sockets).toHaveLength(2);
    expect(client.snapshot().state).toBe("CONNECTING");
  });

  test("a handshake without an answer is left after ten seconds and tried again", () => {
    const client = bench.build();
    client.connect();
    bench.server.silent = true;
    bench.server.last.accept();
    expect(client.snapshot().state).toBe("AUTH");
    bench.timers.advance(10_000);
    expect(client.snapshot().state).toBe("RECONNECTING");
  });

  test("a late close of an old socket does not disturb the new one", () => {
    const client = bench.build();
    client.connect();
    bench.server.ignoresClose = true;
    const old = bench.server.last;
    bench.timers.advance(10_000);
    bench.reconnect(client);
    old.end(1006);
    expect(client.snapshot().state).toBe("OPEN");
  });

  test("the wait doubles with full jitter, never passes thirty seconds, and slows after five", () => {
    const client = bench.build(() => 0.999);
    client.connect();
    const waits: number[] = [];
    for (let i = 0; i < 8; i++) {
      bench.server.last.end(1006);
      const { nextAttemptAt, attempt } = client.snapshot();
      expect(attempt).toBe(i + 1);
      waits.push((nextAttemptAt ?? 0) - bench.timers.now());
      bench.timers.advance((nextAttemptAt ?? 0) - bench.timers.now());
    }
    expect(waits.slice(0, 5)).toEqual([499, 999, 1998, 3996, 7992]);
    expect(waits[7]).toBe(29_970);
    expect(Math.min(...waits.slice(5))).toBeGreaterThanOrEqual(5_000);
  });

  test("failures are forgotten only after thirty healthy seconds", () => {
    const client = bench.build();
    client.connect();
    bench.server.last.end(1006);
    bench.reconnect(client);
    expect(client.snapshot()).toMatchObject({ state: "OPEN", attempt: 1 });
    bench.timers.advance(30_000);
    expect(client.snapshot().attempt).toBe(0);
  });

  test("retry now skips the wait", () => {
    const client = bench.build();
    client.connect();
    bench.server.last.end(1006);
    client.connect();
    expect(bench.server.sockets).toHaveLength(2);
    bench.timers.advance(5_000);
    expect(bench.server.sockets).toHaveLength(2);
  });
});

describe("close codes", () => {
  test("4001 refreshes the token once and returns with it", async () => {
    bench.token = "old";
    bench.refresh.mockImplementation(async () => {
      bench.token = "token-1";
      return "ok";
    });
    const client = bench.build();
    client.connect();
    bench.server.last.accept();
    await Promise.resolve();
    expect(bench.refresh).toHaveBeenCalledTimes(1);
    bench.server.last.accept();
    expect(client.snapshot().state).toBe("OPEN");
  });

  test("a second 4001 ends at the sign-in, without a loop", async () => {
    bench.token = "revoked";
    const client = bench.build();
    client.connect();
    bench.server.last.accept();
    await Promise.resolve();
    bench.server.last.accept();
    await Promise.resolve();
    expect(client.snapshot()).toMatchObject({ state: "CLOSED", reason: "expired" });
    expect(bench.refresh).toHaveBeenCalledTimes(1);
    bench.timers.advance(120_000);
    expect(bench.server.sockets).toHaveLength(2);
  });

  test("a refused refresh ends at the sign-in", async () => {
    bench.token = "revoked";
    bench.refresh.mockResolvedValue("denied");
    const client = bench.build();
    client.connect();
    bench.server.last.accept();
    await Promise.resolve();
    expect(client.snapshot()).toMatchObject({ state: "CLOSED", reason: "expired" });
  });

  test.each([
    [4003, "forbidden"],
    [4000, "protocol"],
    [1009, "protocol"],
  ])("%i is never retried by itself", (code, reason) => {
    const client = bench.connected();
    bench.server.last.end(code);
    expect(client.snapshot()).toMatchObject({ state: "CLOSED", reason });
    bench.timers.advance(600_000);
    expect(bench.server.sockets).toHaveLength(1);
  });

  test("a goodbye names the moment of the return", () => {
    const client = bench.connected();
    bench.server.last.deliver({ event: "goodbye", reason: "drain", reconnect_in_ms: 3_210 });
    bench.server.last.end(1001);
    expect((client.snapshot().nextAttemptAt ?? 0) - bench.timers.now()).toBe(3_210);
  });

  test("a throttled client waits at least thirty seconds", () => {
    const client = bench.connected();
    bench.server.last.end(4029);
    expect((client.snapshot().nextAttemptAt ?? 0) - bench.timers.now()).toBeGreaterThanOrEqual(
      30_000,
    );
  });
});

describe("heartbeat", () => {
  test("the round trip is measured after opening", () => {
    const client = bench.connected();
    expect(client.snapshot().rttMs).toBe(0);
  });

  test("the time from asking to being signed in is reported", () => {
    const client = bench.build();
    client.connect();
    expect(client.snapshot().connectMs).toBeNull();
    bench.timers.advance(340);
    bench.server.last.accept();
    expect(client.snapshot()).toMatchObject({ state: "OPEN", connectMs: 340 });
  });

  test("a ping is sent only on a quiet line", () => {
    const client = bench.connected();
    client.subscribe("queues", {});
    // The second measure of the round trip, once the line has proved healthy.
    bench.timers.advance(20_000);
    bench.server.publish("queues");
    bench.timers.advance(11_000);
    const before = bench.server.last.framesOf("ping").length;
    for (let i = 0; i < 60; i++) {
      bench.timers.advance(2_000);
      bench.server.publish("queues");
    }
    expect(bench.server.last.framesOf("ping")).toHaveLength(before);
    bench.timers.advance(26_000);
    expect(bench.server.last.framesOf("ping")).toHaveLength(before + 1);
  });

  test("a line that answers no ping is replaced", () => {
    const client = bench.connected();
    bench.server.silent = true;
    bench.timers.advance(25_000);
    bench.timers.advance(10_000);
    expect(client.snapshot().state).toBe("RECONNECTING");
  });

  test("a probe finds a dead line in three seconds", () => {
    const client = bench.connected();
    bench.server.silent = true;
    client.probe();
    bench.timers.advance(3_000);
    expect(client.snapshot().state).toBe("RECONNECTING");
  });
});

describe("tokens", () => {
  test("a new token is told to the open connection", () => {
    const client = bench.connected();
    bench.token = "token-2";
    client.tokenChanged();
    expect(bench.server.last.framesOf("auth-refresh")).toEqual([
      { type: "auth-refresh", token: "token-2" },
    ]);
  });

  test("an expiring session is refreshed", () => {
    bench.connected();
    bench.server.last.deliver({ event: "auth_expiring" });
    expect(bench.refresh).toHaveBeenCalledTimes(1);
  });

  test("unknown and damaged frames change nothing", () => {
    const client = bench.connected();
    const before = client.snapshot();
    bench.server.last.deliver({ event: "something.new" });
    bench.server.last.onmessage?.({ data: "{" });
    bench.server.last.onmessage?.({ data: new ArrayBuffer(2) });
    expect(client.snapshot()).toEqual(before);
  });
});
