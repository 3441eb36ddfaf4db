import { Channel, type ChannelListener } from "./channel";
import type { ClientSubscribe } from "./messages.gen";
import { type LiveEvent, type Position, position } from "./protocol";
import type { CommandRefused, Line, Requests } from "./requests";

const LINGER_MS = 5_000;
const RESUME_MS = 8_000;

/** The subscribed channels of the tab, kept across connections and resumed where they stood. */
export class Channels {
  private readonly open = new Map<string, Channel>();

  constructor(
    private readonly line: Line,
    private readonly requests: Requests,
  ) {}

  recent(name: string): readonly LiveEvent[] {
    return this.open.get(name)?.recent ?? [];
  }

  subscribe(name: string, listener: ChannelListener): () => void {
    const known = this.open.get(name);
    const channel = known ?? new Channel(name);
    channel.listeners.add(listener);
    this.open.set(name, channel);
    if (known === undefined && this.line.isOpen()) this.ask([channel]);
    return () => {
      channel.listeners.delete(listener);
      // Moving between screens should not cost a resubscribe.
      if (channel.listeners.size === 0) {
        this.line.timers.set(() => this.release(channel), LINGER_MS);
      }
    };
  }

  /** After a connect: one frame for all, with the place of each that has one. */
  resume(): void {
    const all = [...this.open.values()];
    if (all.length > 0) this.ask(all);
  }

  forgetPositions(): void {
    for (const channel of this.open.values()) channel.position = null;
  }

  forgetAll(): void {
    for (const channel of this.open.values()) {
      channel.position = null;
      channel.recent = [];
    }
  }

  received(event: LiveEvent): void {
    const channel = this.open.get(event.channel);
    if (channel === undefined) return;
    const verdict = channel.judge(event);
    if (verdict === "gap") this.ask([channel]);
    if (verdict === "duplicate" || verdict === "gap") return;
    channel.deliver(event);
    if (verdict === "reset") {
      channel.resuming = false;
      channel.resync("lost");
    }
  }

  recovered(name: string, complete: boolean, top: Position): void {
    const channel = this.open.get(name);
    if (channel === undefined) return;
    channel.resuming = false;
    if (complete) return;
    channel.position = top;
    channel.resync("lost");
  }

  /** The server itself could not fill a hole up to `to`. */
  lost(name: string, to: number): void {
    const channel = this.open.get(name);
    if (channel === undefined) return;
    channel.resuming = false;
    if (channel.position !== null && channel.position.offset < to) {
      channel.position = { ...channel.position, offset: to };
    }
    channel.resync("lost");
  }

  private release(channel: Channel): void {
    if (channel.listeners.size > 0 || this.open.get(channel.name) !== channel) return;
    this.open.delete(channel.name);
    if (this.line.isOpen()) this.line.send({ type: "unsubscribe", channels: [channel.name] });
  }

  private ask(channels: Channel[]): void {
    const since: Record<string, Position> = {};
    const fresh = channels.filter((channel) => channel.position === null);
    for (const channel of channels) {
      channel.confirmed = false;
      channel.resuming = channel.position !== null;
      if (channel.position !== null) since[channel.name] = channel.position;
    }
    const frame: ClientSubscribe = {
      type: "subscribe",
      channels: channels.map((channel) => channel.name),
    };
    if (Object.keys(since).length > 0) frame.since = since;
    this.requests.ask(frame, {
      onAck: (result) => this.subscribed(channels, fresh, result),
      onError: (error) => this.refused(channels, error),
    });
    // A resume that is never concluded must not leave the channel deaf.
    this.line.timers.set(() => {
      for (const channel of channels) channel.resuming = false;
    }, RESUME_MS);
  }

  private subscribed(channels: Channel[], fresh: Channel[], result: Record<string, unknown>): void {
    const tops = (result.channels ?? {}) as Record<string, unknown>;
    for (const channel of channels) channel.confirmed = true;
    for (const channel of fresh) {
      // An event may have overtaken this answer; then it knows better where the channel stands.
      if (channel.position === null && channel.name in tops) {
        channel.position = position(tops[channel.name]);
      }
      // What was read before this moment may miss what happened before the subscription.
      channel.resync("subscribed");
    }
  }

  private refused(channels: Channel[], error: CommandRefused): void {
    if (error.code !== "throttled" && error.code !== "unavailable") return;
    this.line.timers.set(() => {
      const still = channels.filter(
        (channel) => this.open.get(channel.name) === channel && !channel.confirmed,
      );
      if (this.line.isOpen() && still.length > 0) this.ask(still);
    }, error.retryAfterMs ?? 2_000);
  }
}
