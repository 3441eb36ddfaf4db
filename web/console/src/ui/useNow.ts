import { useEffect, useState } from "react";
import { serverNow } from "@/http/serverClock";

/** The server's wall clock, refreshed every `everyMs`, for words such as "in 4 s". */
export function useNow(everyMs = 1_000): number {
  const [now, setNow] = useState(serverNow);
  useEffect(() => {
    const id = window.setInterval(() => setNow(serverNow()), everyMs);
    return () => window.clearInterval(id);
  }, [everyMs]);
  return now;
}
