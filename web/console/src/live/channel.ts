import type { LiveEvent, Position } from "./protocol";

/** `subscribed`: only what happened around the subscription may be missing; `lost`: anything may be. */
export type ResyncReason = "subscribed" | "lost";

export interface ChannelListener {
  onEvent?: (event: LiveEvent) => void;
  /** What was read over HTTP may be behind: read it again. */
  onResync?: (reason: ResyncReason) => void;
}

export type Verdict = "deliver" | "passing" | "duplicate" | "gap" | "reset";

const KEPT = 100;

/**
 * One subscribed channel: where it stands, who listens, and its last hundred messages.
 *
 * While `resuming`, only the next message in line is accepted: what the server sends before it
 * has answered the resume comes again in the replay.
 */
export class Channel {
  readonly listeners = new Set<ChannelListener>();
  position: Position | null = null;
  resuming = false;
  confirmed = false;
  recent: readonly LiveEvent[] = [];
  private seq = 0;

  constructor(readonly name: string) {}

  judge(event: LiveEvent): Verdict {
    // What is true only now (a queue's depth) has no place and no history.
    if (event.offset <= 0) return "passing";
    if (this.position === null) return "deliver";
    if (event.epoch !== this.position.epoch) {
      // A channel that had never carried anything has no epoch yet: its first event is no loss.
      return this.position.epoch === "" && event.offset === 1 ? "deliver" : "reset";
    }
    if (event.offset <= this.position.offset) return "duplicate";
    if (event.offset === this.position.offset + 1) return "deliver";
    return this.resuming ? "duplicate" : "gap";
  }

  deliver(event: LiveEvent): void {
    if (event.offset > 0) {
      this.position = { offset: event.offset, epoch: event.epoch };
      // A memory that began anew may tell old events again under new offsets; `seq` gives them away.
      if (event.seq !== null && event.seq <= this.seq) return;
      this.seq = event.seq ?? this.seq;
    }
    this.recent = [...this.recent.slice(-(KEPT - 1)), event];
    for (const listener of [...this.listeners]) listener.onEvent?.(event);
  }

  resync(reason: ResyncReason): void {
    for (const listener of [...this.listeners]) listener.onResync?.(reason);
  }
}
