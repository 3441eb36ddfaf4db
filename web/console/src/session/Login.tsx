import { type FormEvent, useRef, useState } from "react";
import { session } from "@/app/services";
import { isProblem, type Problem } from "@/http/problem";
import { serverNow } from "@/http/serverClock";
import { Button } from "@/ui/Button";
import { Field } from "@/ui/Dialog";
import favicon from "@/ui/favicon.svg";
import { Icon } from "@/ui/Icon";
import { useNow } from "@/ui/useNow";
import styles from "./Login.module.css";

function explain(problem: Problem, waitS: number): string {
  if (problem.status === 429) {
    return waitS > 0
      ? `Too many attempts. Try again in ${waitS} s.`
      : "Too many attempts were made. You can try again now.";
  }
  if (problem.status === 401) return "The email or the password is wrong.";
  if (problem.status === 0) return problem.message;
  if (problem.status === 503) return "The server is not ready yet. Try again in a moment.";
  return `${problem.message} (HTTP ${problem.status})`;
}

interface Failure {
  problem: Problem;
  at: number;
}

export function Login({ expired }: { expired: boolean }) {
  const [busy, setBusy] = useState(false);
  const [failure, setFailure] = useState<Failure | null>(null);
  const password = useRef<HTMLInputElement>(null);
  const now = useNow();
  const allowedAt = failure === null ? 0 : failure.at + (failure.problem.retryAfterS ?? 0) * 1_000;
  const waitS = Math.max(0, Math.ceil((allowedAt - now) / 1_000));

  async function submit(event: FormEvent<HTMLFormElement>): Promise<void> {
    event.preventDefault();
    const data = new FormData(event.currentTarget);
    setBusy(true);
    setFailure(null);
    try {
      await session.login(String(data.get("email")).trim(), String(data.get("password")));
    } catch (error) {
      if (!isProblem(error)) throw error;
      setFailure({ problem: error, at: serverNow() });
      password.current?.select();
    } finally {
      setBusy(false);
    }
  }

  return (
    <main className={styles.page}>
      <div className={styles.card}>
        <div className={styles.brand}>
          <img src={favicon} alt="" />
          <div>
            <h1>Tenure</h1>
            <p>Sign in to the console</p>
          </div>
        </div>
        <form className={styles.form} onSubmit={(event) => void submit(event)}>
          {expired && failure === null && (
            <p className={styles.note} role="status">
              Your session has ended. Sign in to continue where you were.
            </p>
          )}
          {failure !== null && (
            <div className={styles.error} role="alert">
              <Icon name="alert" />
              <span>{explain(failure.problem, waitS)}</span>
            </div>
          )}
          <Field label="Email">
            {(attributes) => (
              <input
                {...attributes}
                name="email"
                type="email"
                autoComplete="username"
                required
                // biome-ignore lint/a11y/noAutofocus: the only thing to do on this screen
                autoFocus
              />
            )}
          </Field>
          <Field label="Password">
            {(attributes) => (
              <input
                {...attributes}
                ref={password}
                name="password"
                type="password"
                autoComplete="current-password"
                required
              />
            )}
          </Field>
          <Button type="submit" tone="primary" disabled={busy || waitS > 0}>
            {busy ? "Signing in…" : "Sign in"}
          </Button>
        </form>
        <p className={styles.foot}>
          The first admin's password was printed when the stack started; an admin adds others with{" "}
          <span className="mono">tenure user add</span>.
        </p>
      </div>
    </main>
  );
}
