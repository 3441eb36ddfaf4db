import { useNavigate } from "@tanstack/react-router";
import { useEffect, useRef } from "react";
import { Dialog, DialogBody } from "@/ui/Dialog";
import styles from "./Shell.module.css";

const KEYS: [keys: string[], meaning: string][] = [
  [["g", "o"], "Go to the overview"],
  [["g", "j"], "Go to the schedules of the jobs"],
  [["g", "l"], "Go to the slots"],
  [["g", "s"], "Go to the subscriptions"],
  [["g", "i"], "Go to the integrations"],
  [["g", "k"], "Go to the API keys"],
  [["/"], "Search or filter this screen"],
  [["r"], "Run a job now (overview, schedules)"],
  [["←", "→"], "Step through the iterations of a lane"],
  [["Enter"], "Open the selected iteration or row"],
  [["Esc"], "Close the panel or dialog"],
  [["?"], "Show these shortcuts"],
];

function isTyping(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  return target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName);
}

/** The keys of the whole console. `g` waits a second for the letter that follows it. */
export function useShortcuts(openHelp: () => void): void {
  const navigate = useNavigate();
  const goUntil = useRef(0);
  const help = useRef(openHelp);
  useEffect(() => {
    help.current = openHelp;
  });
  useEffect(() => {
    const go = (key: string): boolean => {
      if (performance.now() > goUntil.current) return false;
      goUntil.current = 0;
      if (key === "o") void navigate({ to: "/" });
      else if (key === "s") void navigate({ to: "/subscriptions" });
      else if (key === "j") void navigate({ to: "/schedules" });
      else if (key === "l") void navigate({ to: "/slots" });
      else if (key === "i") void navigate({ to: "/integrations" });
      else if (key === "k") void navigate({ to: "/keys" });
      else return false;
      return true;
    };
    const press = (event: KeyboardEvent): void => {
      if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
      if (isTyping(event.target) || document.querySelector("dialog[open]") !== null) return;
      if (go(event.key)) return;
      if (event.key === "g") goUntil.current = performance.now() + 1_000;
      else if (event.key === "?") help.current();
      else if (event.key === "/") {
        const field = document.querySelector<HTMLElement>("[data-search]");
        if (field === null) return;
        field.focus();
        event.preventDefault();
      } else if (event.key === "r") {
        document.querySelector<HTMLButtonElement>("[data-shortcut='r']")?.click();
      }
    };
    window.addEventListener("keydown", press);
    return () => window.removeEventListener("keydown", press);
  }, [navigate]);
}

export function Shortcuts({ onClose }: { onClose: () => void }) {
  return (
    <Dialog title="Keyboard shortcuts" onClose={onClose}>
      <DialogBody>
        <dl className={styles.keys}>
          {KEYS.map(([keys, meaning]) => (
            <div key={meaning} style={{ display: "contents" }}>
              <dt>
                {keys.map((key) => (
                  <kbd key={key}>{key}</kbd>
                ))}
              </dt>
              <dd>{meaning}</dd>
            </div>
          ))}
        </dl>
      </DialogBody>
    </Dialog>
  );
}
