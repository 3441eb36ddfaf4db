import { useQuery, useQueryClient } from "@tanstack/react-query";
import { api } from "@/app/services";
import type { IterationDetail } from "@/http/model";
import { useChannel, useLive } from "@/live/useLive";

const POLL_MS = 2_000;

/** One iteration with all that the ledger holds of it. Its slot's channel tells when to read it again. */
export function useIterationDetail(id: string) {
  const client = useQueryClient();
  const { state } = useLive();
  const key = ["iteration", id];
  const query = useQuery({
    queryKey: key,
    queryFn: ({ signal }) =>
      api.get<IterationDetail>(`/api/v1/iterations/${encodeURIComponent(id)}`, {}, signal),
    refetchInterval: ({ state: { data } }) =>
      state !== "OPEN" && data?.ended_at === null ? POLL_MS : false,
  });
  const slot = query.data?.slot_id;
  const reread = () => void client.invalidateQueries({ queryKey: key });
  useChannel(slot === undefined ? null : `slot:${slot}`, { onEvent: reread, onResync: reread });
  return query;
}
