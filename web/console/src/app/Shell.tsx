import { Link, Outlet, useRouterState } from "@tanstack/react-router";
import { useState } from "react";
import { Indicator } from "@/live/Indicator";
import type { User } from "@/session/session";
import { IconButton } from "@/ui/Button";
import favicon from "@/ui/favicon.svg";
import { Icon } from "@/ui/Icon";
import { SandboxClock } from "./SandboxClock";
import styles from "./Shell.module.css";
import { Shortcuts, useShortcuts } from "./Shortcuts";
import { session } from "./services";
import { useUser } from "./useUser";

const TITLES: [prefix: string, title: string][] = [
  ["/subscriptions", "Subscriptions"],
  ["/schedules", "Schedules"],
  ["/slots", "Slots"],
  ["/iterations", "Iteration"],
  ["/integrations", "Integrations"],
  ["/keys", "Keys"],
  ["/", "Overview"],
];

export function Shell() {
  const [help, setHelp] = useState(false);
  const user = useUser();
  const path = useRouterState({ select: (state) => state.location.pathname });
  const title = TITLES.find(([prefix]) => path.startsWith(prefix))?.[1] ?? "";
  useShortcuts(() => setHelp(true));
  return (
    <div className={styles.shell}>
      <a className={styles.skip} href="#content">
        Skip to content
      </a>
      <nav className={styles.rail} aria-label="Main">
        <Link to="/" className={styles.brand}>
          <img src={favicon} alt="" /> Tenure
        </Link>
        <Links />
        <Person user={user} />
      </nav>
      <div className={styles.main}>
        <header className={styles.bar}>
          <h1 className={styles.title}>{title}</h1>
          <SandboxClock />
          <Indicator />
          <IconButton icon="keyboard" label="Keyboard shortcuts" onClick={() => setHelp(true)} />
        </header>
        <main id="content" className={styles.content} tabIndex={-1}>
          <Outlet />
        </main>
      </div>
      {help && <Shortcuts onClose={() => setHelp(false)} />}
    </div>
  );
}

function Links() {
  return (
    <div className={styles.nav}>
      <Link to="/" className={styles.link} activeOptions={{ exact: true, includeSearch: false }}>
        <Icon name="overview" /> Overview
      </Link>
      <Link to="/schedules" className={styles.link} activeOptions={{ includeSearch: false }}>
        <Icon name="clock" /> Schedules
      </Link>
      <Link to="/slots" className={styles.link} activeOptions={{ includeSearch: false }}>
        <Icon name="diamond" /> Slots
      </Link>
      <Link to="/subscriptions" className={styles.link} activeOptions={{ includeSearch: false }}>
        <Icon name="subscriptions" /> Subscriptions
      </Link>
      <Link to="/integrations" className={styles.link}>
        <Icon name="plug" /> Integrations
      </Link>
      <Link to="/keys" className={styles.link}>
        <Icon name="key" /> Keys
      </Link>
      <a
        className={`${styles.link} ${styles.outside}`}
        href="/flower/"
        target="_blank"
        rel="noreferrer"
      >
        <Icon name="flower" /> Flower
        <span className={styles.away}>
          <Icon name="external" size={12} />
        </span>
      </a>
      <a
        className={`${styles.link} ${styles.outside}`}
        href="/api/v1/docs"
        target="_blank"
        rel="noreferrer"
      >
        <Icon name="book" /> API
        <span className={styles.away}>
          <Icon name="external" size={12} />
        </span>
      </a>
    </div>
  );
}

function Person({ user }: { user: User }) {
  return (
    <div className={styles.person}>
      <span>
        <span className={styles.email} title={user.email}>
          {user.email}
        </span>
        {user.role}
      </span>
      <IconButton icon="logout" label="Sign out" onClick={() => void session.logout()} />
    </div>
  );
}
