import { QueryClientProvider } from "@tanstack/react-query";
import { RouterProvider } from "@tanstack/react-router";
import { useEffect } from "react";
import { Login } from "@/session/Login";
import { Button } from "@/ui/Button";
import { Skeleton } from "@/ui/Panel";
import { router } from "./router";
import styles from "./Shell.module.css";
import { queryClient, session } from "./services";
import { useSession } from "./useUser";

function Unreachable() {
  useEffect(() => {
    const id = window.setInterval(() => void session.start(), 5_000);
    return () => window.clearInterval(id);
  }, []);
  return (
    <main className={styles.full}>
      <h1>The server does not answer</h1>
      <p className="muted">It may be starting. This page tries again every five seconds.</p>
      <Button onClick={() => void session.start()}>Retry now</Button>
    </main>
  );
}

export function App() {
  const state = useSession();
  switch (state.status) {
    case "starting":
      return (
        <main className={styles.full}>
          <Skeleton rows={1} />
        </main>
      );
    case "unreachable":
      return <Unreachable />;
    case "signed_out":
      return <Login expired={state.expired} />;
    case "signed_in":
      return (
        <QueryClientProvider client={queryClient}>
          <RouterProvider router={router} />
        </QueryClientProvider>
      );
  }
}
