import { beforeEach, expect, test, vi } from "vitest";
import type { LiveClient } from "./client";
import type { LiveEvent } from "./protocol";
import { Bench } from "./testing/bench";

let bench: Bench;

beforeEach(() => {
  bench = new Bench();
});

function follow(client: LiveClient, channel: string) {
  const seen: number[] = [];
  const resyncs = vi.fn();
  const stop = client.subscribe(channel, {
    onEvent: (event: LiveEvent) => seen.push(event.offset),
    onResync: resyncs,
  });
  return { seen, resyncs, stop };
}

test("a fresh subscription asks its readers to read again once", () => {
  const client = bench.connected();
  const { resyncs } = follow(client, "iterations");
  expect(resyncs).toHaveBeenCalledTimes(1);
  expect(resyncs).toHaveBeenCalledWith("subscribed");
});

test("what was missed while away arrives once and in order", () => {
  const client = bench.connected();
  const { seen, resyncs } = follow(client, "iterations");
  bench.server.publish("iterations");
  bench.server.last.end(1006);
  for (let i = 0; i < 7; i++) bench.server.publish("iterations", {}, { lose: true });
  resyncs.mockClear();
  bench.reconnect(client);
  bench.server.publish("iterations");
  expect(seen).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
  expect(resyncs).not.toHaveBeenCalled();
});

test("too long an absence reads again over HTTP and continues from the new place", () => {
  const client = bench.connected();
  const { seen, resyncs } = follow(client, "iterations");
  bench.server.publish("iterations");
  bench.server.last.end(1006);
  for (let i = 0; i < 150; i++) bench.server.publish("iterations", {}, { lose: true });
  resyncs.mockClear();
  bench.reconnect(client);
  expect(resyncs).toHaveBeenCalledTimes(1);
  expect(resyncs).toHaveBeenCalledWith("lost");
  bench.server.publish("iterations");
  expect(seen).toEqual([1, 152]);
});

test("a message seen before is dropped", () => {
  const client = bench.connected();
  const { seen } = follow(client, "iterations");
  bench.server.publish("iterations");
  bench.server.publish("iterations");
  bench.server.emit(bench.server.last, "iterations", 1);
  bench.server.emit(bench.server.last, "iterations", 2);
  expect(seen).toEqual([1, 2]);
});

test("a hole is repaired by one resubscription, and nothing is seen twice", () => {
  const client = bench.connected();
  const { seen } = follow(client, "iterations");
  bench.server.publish("iterations");
  bench.server.publish("iterations", {}, { lose: true });
  bench.server.publish("iterations", {}, { lose: true });
  bench.server.publish("iterations");
  expect(seen).toEqual([1, 2, 3, 4]);
  expect(bench.server.last.framesOf("subscribe")).toHaveLength(2);
  expect(bench.server.last.framesOf("subscribe")[1]).toMatchObject({
    since: { iterations: { offset: 1, epoch: "e1" } },
  });
});

test("messages that overtake the replay do not start a second one", () => {
  const client = bench.connected();
  const { seen } = follow(client, "iterations");
  bench.server.publish("iterations");
  for (let i = 0; i < 3; i++) bench.server.publish("iterations", {}, { lose: true });
  bench.server.silent = true;
  bench.server.emit(bench.server.last, "iterations", 3);
  bench.server.emit(bench.server.last, "iterations", 4);
  expect(bench.server.last.framesOf("subscribe")).toHaveLength(2);
  expect(seen).toEqual([1]);
  bench.server.silent = false;
  const again = bench.server.last.framesOf("subscribe")[1];
  if (again === undefined) throw new Error("no resubscription");
  bench.server.hear(bench.server.last, again);
  expect(seen).toEqual([1, 2, 3, 4]);
});

test("a sample without a place is shown and moves nothing", () => {
  const client = bench.connected();
  const { seen, resyncs } = follow(client, "queues");
  resyncs.mockClear();
  const sample = {
    event: "event",
    channel: "queues",
    offset: 0,
    epoch: "",
    type: "queue.sample",
  };
  bench.server.last.deliver(sample);
  bench.server.last.deliver(sample);
  bench.server.publish("queues");
  expect(seen).toEqual([0, 0, 1]);
  expect(resyncs).not.toHaveBeenCalled();
});

test("a new epoch is followed and read again", () => {
  const client = bench.connected();
  const { seen, resyncs } = follow(client, "iterations");
  bench.server.publish("iterations");
  resyncs.mockClear();
  bench.server.epoch = "e2";
  bench.server.history.clear();
  bench.server.publish("iterations");
  expect(seen).toEqual([1, 1]);
  expect(resyncs).toHaveBeenCalledTimes(1);
});

test("what a new memory tells again under new offsets is not shown again", () => {
  const client = bench.connected();
  const { seen, resyncs } = follow(client, "iterations");
  for (let i = 0; i < 3; i++) bench.server.publish("iterations");
  resyncs.mockClear();
  const told = bench.server.history.get("iterations") ?? [];
  bench.server.epoch = "e2";
  bench.server.history.set(
    "iterations",
    told.slice(1).map((entry, at) => ({ ...entry, offset: at + 1 })),
  );
  for (const offset of [1, 2]) bench.server.emit(bench.server.last, "iterations", offset);
  bench.server.publish("iterations");
  expect(seen).toEqual([1, 2, 3, 3]);
  expect(client.recent("iterations").map((event) => event.seq)).toEqual([1, 2, 3, 4]);
  expect(resyncs).toHaveBeenCalledTimes(1);
});

test("the first event ever of a channel is no loss", () => {
  bench.server.epoch = "";
  const client = bench.connected();
  const { seen, resyncs } = follow(client, "iterations");
  resyncs.mockClear();
  bench.server.epoch = "e1";
  bench.server.publish("iterations");
  expect(seen).toEqual([1]);
  expect(resyncs).not.toHaveBeenCalled();
});

test("a gap that the server reports moves the place and reads again", () => {
  const client = bench.connected();
  const { seen, resyncs } = follow(client, "iterations");
  bench.server.publish("iterations");
  for (let i = 0; i < 4; i++) bench.server.publish("iterations", {}, { lose: true });
  resyncs.mockClear();
  bench.server.last.deliver({ event: "gap", channel: "iterations", from: 2, to: 5 });
  bench.server.publish("iterations");
  expect(resyncs).toHaveBeenCalledTimes(1);
  expect(seen).toEqual([1, 6]);
});

test("a view keeps the last hundred messages", () => {
  const client = bench.connected();
  follow(client, "iterations");
  for (let i = 0; i < 130; i++) bench.server.publish("iterations");
  const offsets = client.recent("iterations").map((event) => event.offset);
  expect(offsets).toHaveLength(100);
  expect(offsets[0]).toBe(31);
});

test("a channel nobody listens to is left after a moment, not between two screens", () => {
  const client = bench.connected();
  const first = follow(client, "iterations");
  first.stop();
  const second = follow(client, "iterations");
  bench.timers.advance(6_000);
  expect(bench.server.last.framesOf("unsubscribe")).toHaveLength(0);
  second.stop();
  bench.timers.advance(6_000);
  expect(bench.server.last.framesOf("unsubscribe")).toHaveLength(1);
});

test("4010 forgets the places and reads everything again", () => {
  const client = bench.connected();
  const { resyncs } = follow(client, "iterations");
  bench.server.publish("iterations");
  resyncs.mockClear();
  bench.server.last.end(4010);
  bench.reconnect(client);
  expect(bench.server.last.framesOf("subscribe")[0]).not.toHaveProperty("since");
  expect(resyncs).toHaveBeenCalledTimes(1);
});
