import { vi } from "vitest";
import { type Credentials, LiveClient } from "../client";
import { FakeServer, ManualTimers, MemoryStore } from "./fakes";

type Refresh = Awaited<ReturnType<Credentials["refresh"]>>;

/** A client, the server at the other end, and the hands on its clocks. */
export class Bench {
  readonly server = new FakeServer();
  readonly timers = new ManualTimers();
  readonly store = new MemoryStore();
  wall = 1_700_000_000_000;
  token = "token-1";
  readonly refresh = vi.fn(async (): Promise<Refresh> => "ok");

  build(random = () => 0.5): LiveClient {
    return new LiveClient({
      open: this.server.open,
      timers: this.timers,
      random,
      credentials: { token: () => this.token, refresh: this.refresh },
      store: this.store,
      wallClock: () => this.wall,
    });
  }

  connected(): LiveClient {
    const client = this.build();
    client.connect();
    this.server.last.accept();
    return client;
  }

  /** Lets the wait pass that the client keeps, and takes it in. */
  reconnect(client: LiveClient): void {
    this.timers.advance((client.snapshot().nextAttemptAt ?? 0) - this.timers.now());
    this.server.last.accept();
  }
}
