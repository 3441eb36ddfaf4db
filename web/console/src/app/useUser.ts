import { useSyncExternalStore } from "react";
import type { Role, SessionState, User } from "@/session/session";
import { session } from "./services";

export function useSession(): SessionState {
  return useSyncExternalStore(session.watch, session.snapshot);
}

const NOBODY: User = { id: "", email: "", role: "viewer" };

/** The signed-in user. During the last render of a sign-out it is a viewer without a name. */
export function useUser(): User {
  const state = useSession();
  return state.status === "signed_in" ? state.user : NOBODY;
}

const RANK: Record<Role, number> = { viewer: 0, operator: 1, admin: 2 };

export function useMay(role: Role): boolean {
  return RANK[useUser().role] >= RANK[role];
}
