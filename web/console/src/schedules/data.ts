import { type QueryClient, useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useRef } from "react";
import { api } from "@/app/services";
import type { Page } from "@/http/api";
import type { Preview, Schedule, ScheduledJob } from "@/http/model";
import { readIteration, readSkip } from "@/http/read";
import { serverNow } from "@/http/serverClock";
import type { LiveEvent } from "@/live/protocol";
import { useChannel } from "@/live/useLive";
import { useLook } from "@/ui/useLook";
import { STRIP, withIteration, withSchedule, withSkip } from "./cells";
import type { Change } from "./rhythm";

const KEY = ["jobs", "schedules"] as const;
const REREAD_MS = 10_000;
const SETTLE_MS = 500;

export const schedulePath = (job: string, rest = "") =>
  `/api/v1/schedules/${encodeURIComponent(job)}${rest}`;

export interface Read {
  jobs: readonly ScheduledJob[];
  /** When the rows were read, by the server's clock; events change the rows without reading them. */
  readAt: number;
}

export function useScheduledJobs() {
  return useQuery({
    queryKey: KEY,
    queryFn: async ({ signal }): Promise<Read> => {
      const page = await api.get<Page<ScheduledJob>>("/api/v1/jobs", { recent: STRIP }, signal);
      return { jobs: page.items, readAt: serverNow() };
    },
  });
}

export const rereadJobs = (client: QueryClient): void => {
  void client.invalidateQueries({ queryKey: ["jobs"] });
};

/** Keeps rows and strips in step: what others change is told on `system`, what runs on `iterations`. */
export function useLiveSchedules(): void {
  const client = useQueryClient();
  const timer = useRef<number | null>(null);
  useEffect(() => () => window.clearTimeout(timer.current ?? undefined), []);
  // No event tells that a beat is missing: lateness is seen by looking.
  useLook(KEY, REREAD_MS);
  const reread = () => {
    window.clearTimeout(timer.current ?? undefined);
    timer.current = window.setTimeout(() => rereadJobs(client), SETTLE_MS);
  };
  const apply = (change: (jobs: readonly ScheduledJob[]) => ScheduledJob[]) =>
    client.setQueryData<Read>(KEY, (read) => read && { ...read, jobs: change(read.jobs) });
  const ran = (event: LiveEvent) => {
    if (event.type.endsWith("bulk_changed")) return reread();
    if (event.type === "slot.skipped") {
      const skip = readSkip(event);
      if (skip !== null) apply((jobs) => withSkip(jobs, skip));
      return;
    }
    const iteration = readIteration(event.data, event);
    if (iteration !== null) apply((jobs) => withIteration(jobs, iteration));
  };
  useChannel("iterations", { onEvent: ran, onResync: reread });
  useChannel("system", {
    onEvent: (event) => {
      if (!event.type.startsWith("schedule.")) return;
      apply((jobs) => withSchedule(jobs, event.data));
      reread();
    },
    onResync: reread,
  });
}

export const editSchedule = (job: string, change: Change) =>
  api.patch<Schedule>(schedulePath(job), change);

export const resumeSchedule = (job: string, key: string) =>
  api.post<Schedule>(schedulePath(job, "/resume"), {}, key);

export const pauseSchedule = (job: string, reason: string, until: string | null, key: string) =>
  api.post<Schedule>(
    schedulePath(job, "/pause"),
    until === null ? { reason } : { reason, until },
    key,
  );

export function usePreview(job: string, asked: Record<string, string | number> | null) {
  return useQuery({
    queryKey: ["preview", job, asked],
    enabled: asked !== null,
    queryFn: ({ signal }) =>
      api.get<Preview>(schedulePath(job, "/preview"), { ...asked, count: 5 }, signal),
    staleTime: 0,
    retry: false,
  });
}
