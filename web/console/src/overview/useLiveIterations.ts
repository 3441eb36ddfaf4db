import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { readIteration, readSkip } from "@/http/read";
import { serverNow } from "@/http/serverClock";
import type { ResyncReason } from "@/live/channel";
import { useChannel } from "@/live/useLive";
import { catchUp, show } from "./catchUp";
import { applySkip } from "./data";

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
        const slot = readSkip(event);
        if (slot !== null) applySkip(client, slot);
        return;
      }
      const iteration = readIteration(event.data, event);
      if (iteration !== null) show(client, iteration);
    },
  });
}
