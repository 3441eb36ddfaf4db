import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import type { Slot } from "@/http/model";
import { readIteration, record } from "@/http/read";
import { serverNow } from "@/http/serverClock";
import type { ResyncReason } from "@/live/channel";
import type { LiveEvent } from "@/live/protocol";
import { useChannel } from "@/live/useLive";
import { catchUp, show } from "./catchUp";
import { applySkip } from "./data";

function skippedSlot(event: LiveEvent): Slot | null {
  const raw = record(event.data);
  if (typeof raw.slot_id !== "string" || typeof raw.job !== "string") return null;
  return {
    id: raw.slot_id,
    job: raw.job,
    scope: typeof raw.scope === "string" ? raw.scope : "",
    due_at: typeof raw.due_at === "string" ? raw.due_at : event.ts,
    origin: raw.origin === "run" ? "run" : "schedule",
    state: "skipped",
    reason: typeof raw.reason === "string" ? raw.reason : null,
    count: typeof raw.count === "number" ? raw.count : 1,
    iteration_ids: [],
  };
}

/** Keeps every list of iterations on the screen in step with the broad channel. */
export function useLiveIterations(): void {
  const client = useQueryClient();
  // Anything from here on may be told by the channel, or has to be caught up with.
  const [shownAt] = useState(serverNow);
  const reread = (reason: ResyncReason) => {
    void client.invalidateQueries({ queryKey: ["slots", "skipped"] });
    if (reason === "lost") void client.invalidateQueries({ queryKey: ["iterations"] });
    else void catchUp(client, shownAt);
  };
  useChannel("iterations", {
    onResync: reread,
    onEvent: (event) => {
      if (event.type.endsWith("bulk_changed")) return reread("lost");
      if (event.type === "slot.skipped") {
        const slot = skippedSlot(event);
        if (slot !== null) applySkip(client, slot);
        return;
      }
      const iteration = readIteration(event.data, event);
      if (iteration !== null) show(client, iteration);
    },
  });
}
