import { Problem, problemOf, unreachable } from "@/http/problem";

export type Role = "viewer" | "operator" | "admin";

export interface User {
  id: string;
  email: string;
  role: Role;
}

export type SessionState =
  | { status: "starting" }
  | { status: "unreachable" }
  | { status: "signed_out"; expired: boolean }
  | { status: "signed_in"; user: User };

export type RefreshAnswer = "ok" | "denied" | "unavailable";

interface Grant {
  access_token: string;
  expires_in: number;
  user?: User;
}

export interface SessionOptions {
  fetch: typeof fetch;
  /** Runs the work while no other tab does the same: the refresh token rotates. */
  alone: <T>(work: () => Promise<T>) => Promise<T>;
  now: () => number;
}

/**
 * Who is signed in. The access token lives in this object alone, never in storage; the cookie that
 * renews it is out of the page's reach.
 */
export class Session {
  private state: SessionState = { status: "starting" };
  private accessToken: string | null = null;
  private expiresAt = 0;
  private refreshing: Promise<RefreshAnswer> | null = null;
  private readonly watchers = new Set<() => void>();
  private readonly tokenWatchers = new Set<() => void>();

  constructor(private readonly options: SessionOptions) {}

  readonly snapshot = (): SessionState => this.state;

  readonly watch = (watcher: () => void): (() => void) => {
    this.watchers.add(watcher);
    return () => this.watchers.delete(watcher);
  };

  /** Called whenever there is a newer access token. */
  onToken(watcher: () => void): () => void {
    this.tokenWatchers.add(watcher);
    return () => this.tokenWatchers.delete(watcher);
  }

  token(): string | null {
    return this.accessToken;
  }

  /** Milliseconds until the token should be renewed: at four fifths of its life. */
  renewIn(): number | null {
    return this.accessToken === null ? null : Math.max(0, this.expiresAt - this.options.now());
  }

  async login(email: string, password: string): Promise<void> {
    const response = await this.post("/api/v1/auth/login", { email, password });
    if (!response.ok) throw await problemOf(response);
    await this.accept((await response.json()) as Grant);
  }

  /** One refresh at a time, however many requests ask for it. */
  refresh(): Promise<RefreshAnswer> {
    this.refreshing ??= this.options
      .alone(() => this.refreshNow())
      .finally(() => {
        this.refreshing = null;
      });
    return this.refreshing;
  }

  /** The first refresh of the page: tells a signed-in browser from a new one. */
  async start(): Promise<void> {
    const answer = await this.refresh();
    if (answer === "unavailable") this.set({ status: "unreachable" });
  }

  async logout(): Promise<void> {
    const token = this.accessToken;
    this.forget(false);
    const headers: Record<string, string> =
      token === null ? {} : { Authorization: `Bearer ${token}` };
    // Without an answer the cookie stays until it expires; the page has forgotten its token.
    await this.post("/api/v1/auth/logout", {}, headers).catch(() => undefined);
  }

  forget(expired: boolean): void {
    this.accessToken = null;
    this.expiresAt = 0;
    this.set({ status: "signed_out", expired });
  }

  private async refreshNow(): Promise<RefreshAnswer> {
    let response: Response;
    try {
      response = await this.post("/api/v1/auth/refresh", {});
      if (response.ok) {
        await this.accept((await response.json()) as Grant);
        return "ok";
      }
    } catch {
      return "unavailable";
    }
    if (response.status === 429 || response.status >= 500) return "unavailable";
    this.forget(this.state.status === "signed_in");
    return "denied";
  }

  private async accept(grant: Grant): Promise<void> {
    this.accessToken = grant.access_token;
    this.expiresAt = this.options.now() + grant.expires_in * 800;
    const known = this.state.status === "signed_in" ? this.state.user : undefined;
    const user = grant.user ?? known ?? (await this.me());
    this.set({ status: "signed_in", user });
    for (const watcher of [...this.tokenWatchers]) watcher();
  }

  private async me(): Promise<User> {
    const response = await this.options.fetch("/api/v1/me", {
      headers: { Authorization: `Bearer ${this.accessToken}`, Accept: "application/json" },
    });
    if (!response.ok) throw await problemOf(response);
    return (await response.json()) as User;
  }

  private async post(
    path: string,
    body: unknown,
    headers: Record<string, string> = {},
  ): Promise<Response> {
    try {
      return await this.options.fetch(path, {
        method: "POST",
        credentials: "same-origin",
        headers: { "Content-Type": "application/json", Accept: "application/json", ...headers },
        body: JSON.stringify(body),
      });
    } catch (error) {
      if (error instanceof Problem) throw error;
      throw unreachable();
    }
  }

  private set(state: SessionState): void {
    this.state = state;
    for (const watcher of [...this.watchers]) watcher();
  }
}
