import type { CommandStore } from "./commands";

/**
 * Keeps text for a reload of this tab, and for nobody else: two tabs must not both send what one
 * of them was asked. Where the browser keeps nothing (it is forbidden, or full) nothing is loaded,
 * and what is saved lives as long as the page that saved it.
 */
export function tabStore(
  storage: () => Pick<Storage, "getItem" | "setItem">,
  key: string,
): CommandStore {
  return {
    load: () => {
      try {
        return storage().getItem(key);
      } catch {
        return null;
      }
    },
    save: (text) => {
      try {
        storage().setItem(key, text);
      } catch {
        // The caller holds the same in memory; a reload is what it will not survive.
      }
    },
  };
}
