import { api, live } from "@/app/services";
import { isProblem } from "@/http/problem";
import { CommandRefused } from "@/live/requests";

export interface Accepted {
  slotId: string;
  dueAt: string;
  duplicate: boolean;
  via: "live" | "http";
}

const LIVE_PATIENCE_MS = 4_000;

const after = (ms: number) =>
  new Promise<"late">((resolve) => setTimeout(() => resolve("late"), ms));

async function overHttp(job: string, scope: string, key: string): Promise<Accepted> {
  const path = `/api/v1/jobs/${encodeURIComponent(job)}/runs`;
  const slot = await api.post<{ slot_id: string; due_at: string }>(path, { scope }, key);
  return { slotId: slot.slot_id, dueAt: slot.due_at, duplicate: false, via: "http" };
}

async function overLive(job: string, scope: string, key: string): Promise<Accepted> {
  const ack = await live.run(job, scope, key);
  return { slotId: ack.slot_id, dueAt: ack.due_at, duplicate: ack.duplicate, via: "live" };
}

/**
 * Asks for a run over the socket, else over HTTP, always with the same key: whichever way arrives,
 * the job runs once. When neither way is open the command waits for the connection.
 */
export async function runJob(
  job: string,
  scope: string,
  key: string,
  onWaiting: () => void,
): Promise<Accepted> {
  if (live.isOpen()) {
    const asked = overLive(job, scope, key);
    const answer = await Promise.race([asked, after(LIVE_PATIENCE_MS)]);
    if (answer !== "late") return answer;
    // The socket may still carry it: the same key makes both ways one run.
    live.withdraw(key);
  }
  try {
    return await overHttp(job, scope, key);
  } catch (error) {
    if (!isProblem(error) || error.status !== 0) throw error;
    onWaiting();
    return overLive(job, scope, key);
  }
}

export function explain(error: unknown): string {
  if (error instanceof CommandRefused) {
    if (error.code === "forbidden") return "Your role may not run jobs.";
    if (error.code === "not_found") return "There is no such job.";
    return error.message;
  }
  return error instanceof Error ? error.message : String(error);
}
