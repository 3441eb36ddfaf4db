import { api } from "@/app/services";
import type { Page } from "@/http/api";
import type { ApiKey } from "@/http/model";
import type { Role } from "@/session/session";
import { useLook } from "@/ui/useLook";
import { PAGE, usePages } from "@/ui/usePages";

export const KEYS = ["api-keys"] as const;
const LOOK_MS = 15_000;
const PATH = "/api/v1/api-keys";

/** No event tells of keys: when each was last used is seen by looking. */
export function useKeys() {
  useLook(KEYS, LOOK_MS);
  return usePages([...KEYS, "list"], (cursor, signal) =>
    api.get<Page<ApiKey>>(PATH, { limit: PAGE, cursor }, signal),
  );
}

/** The answer alone holds `key`. */
export const makeKey = (name: string, role: Role, key: string) =>
  api.post<ApiKey & { key: string }>(PATH, { name, role }, key);

export const revokeKey = (id: string) => api.delete(`${PATH}/${encodeURIComponent(id)}`);
