import { beforeEach, describe, expect, test, vi } from "vitest";
import { Bench } from "./testing/bench";

let bench: Bench;

beforeEach(() => {
  bench = new Bench();
});

describe("leaving", () => {
  test("an answer that never came does not bring a closing connection back", () => {
    const client = bench.connected();
    bench.server.silent = true;
    bench.server.ignoresClose = true;
    client.subscribe("iterations", {});
    bench.timers.advance(7_500);
    client.disconnect("signed_out");
    bench.timers.advance(60_000);
    expect(client.snapshot()).toMatchObject({ state: "CLOSED", reason: "signed_out" });
    expect(bench.server.sockets).toHaveLength(1);
  });

  test("what arrives after the goodbye is shown to nobody", () => {
    const client = bench.connected();
    const onEvent = vi.fn();
    client.subscribe("iterations", { onEvent });
    bench.server.ignoresClose = true;
    client.disconnect("signed_out");
    bench.server.publish("iterations");
    expect(onEvent).not.toHaveBeenCalled();
    expect(client.recent("iterations")).toEqual([]);
  });

  test("a socket that opens after the goodbye is not signed in", () => {
    const client = bench.build();
    client.connect();
    bench.server.ignoresClose = true;
    client.disconnect("signed_out");
    bench.server.last.accept();
    expect(client.snapshot().state).toBe("CLOSING");
    expect(bench.server.last.framesOf("auth")).toEqual([]);
  });
});

describe("coming back when the page wakes", () => {
  test("a page that was hidden connects again", () => {
    const client = bench.connected();
    client.disconnect("hidden");
    client.wake();
    bench.server.last.accept();
    expect(client.snapshot().state).toBe("OPEN");
    expect(bench.server.sockets).toHaveLength(2);
  });

  test("a wait of the client's own is cut short", () => {
    const client = bench.connected();
    bench.server.last.end(1006);
    client.wake();
    expect(client.snapshot().state).toBe("CONNECTING");
  });

  test.each([4003, 4000])("a server that said no with %i is not asked again", (code) => {
    const client = bench.connected();
    bench.server.last.end(code);
    const { reason } = client.snapshot();
    client.wake();
    client.disconnect("hidden");
    client.wake();
    bench.timers.advance(600_000);
    expect(client.snapshot()).toMatchObject({ state: "CLOSED", reason });
    expect(bench.server.sockets).toHaveLength(1);
  });

  test("a throttled client keeps its half minute", () => {
    const client = bench.connected();
    bench.server.last.end(4029);
    client.wake();
    expect(client.snapshot().state).toBe("RECONNECTING");
    bench.timers.advance(30_000);
    expect(client.snapshot().state).toBe("CONNECTING");
  });

  test("the moment that a goodbye named is kept", () => {
    const client = bench.connected();
    bench.server.last.deliver({ event: "goodbye", reason: "drain", reconnect_in_ms: 3_210 });
    bench.server.last.end(1001);
    client.wake();
    expect(bench.server.sockets).toHaveLength(1);
    bench.timers.advance(3_210);
    expect(bench.server.sockets).toHaveLength(2);
  });

  test("an open line is asked whether it is alive", () => {
    const client = bench.connected();
    const before = bench.server.last.framesOf("ping").length;
    client.wake();
    expect(bench.server.last.framesOf("ping")).toHaveLength(before + 1);
  });
});

describe("what cannot go as planned", () => {
  test("a socket that the browser will not even make is tried again", () => {
    bench.server.refusals = 2;
    const client = bench.build();
    client.connect();
    expect(client.snapshot()).toMatchObject({ state: "RECONNECTING", attempt: 1 });
    bench.timers.advance(2_000);
    bench.server.last.accept();
    expect(client.snapshot()).toMatchObject({ state: "OPEN", attempt: 2 });
  });

  test("a connect while the session is renewed waits for the new token", async () => {
    let answer: (word: "ok") => void = () => undefined;
    bench.refresh.mockImplementation(() => new Promise((resolve) => (answer = resolve)));
    const client = bench.connected();
    bench.server.last.end(4001);
    client.connect();
    client.wake();
    expect(bench.server.sockets).toHaveLength(1);
    answer("ok");
    await Promise.resolve();
    expect(bench.server.sockets).toHaveLength(2);
    bench.server.last.accept();
    expect(client.snapshot().state).toBe("OPEN");
  });
});
