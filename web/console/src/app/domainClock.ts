import { useQuery } from "@tanstack/react-query";
import { useNow } from "@/ui/useNow";
import { api } from "./services";

interface Stats {
  offset_s?: number;
}

/** How far the sandbox's clock stands ahead of the machine's; 0 in production. */
export function useClockOffset(): number {
  const { data } = useQuery({
    queryKey: ["stats"],
    queryFn: ({ signal }) => api.get<Stats>("/api/v1/stats", {}, signal),
    refetchInterval: 30_000,
  });
  return (data?.offset_s ?? 0) * 1_000;
}

/** Now, by the clock that periods, trials and grace are counted in. */
export function useDomainNow(): number {
  const offset = useClockOffset();
  return useNow(30_000) + offset;
}
