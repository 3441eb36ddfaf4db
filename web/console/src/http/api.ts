import type { Session } from "@/session/session";
import { problemOf, signedOut, unreachable } from "./problem";

export interface Page<T> {
  items: T[];
  next_cursor: string | null;
}

export type Query = Record<string, string | number | boolean | null | undefined>;

interface Call {
  method: string;
  path: string;
  body?: unknown;
  idempotencyKey?: string;
  signal?: AbortSignal;
  /** Statuses whose body is an answer, not an error. */
  alsoFine?: readonly number[];
}

export function withQuery(path: string, query: Query): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined && value !== "") parameters.set(name, String(value));
  }
  const text = parameters.toString();
  return text === "" ? path : `${path}?${text}`;
}

/** The HTTP surface. A 401 renews the token once, whatever number of requests met it. */
export class Api {
  constructor(
    private readonly session: Session,
    private readonly fetcher: typeof fetch,
  ) {}

  get<T>(path: string, query: Query = {}, signal?: AbortSignal): Promise<T> {
    return this.call<T>({ method: "GET", path: withQuery(path, query), ...(signal && { signal }) });
  }

  post<T>(path: string, body: unknown, idempotencyKey: string): Promise<T> {
    return this.call<T>({ method: "POST", path, body, idempotencyKey });
  }

  patch<T>(path: string, body: unknown): Promise<T> {
    return this.call<T>({ method: "PATCH", path, body });
  }

  delete(path: string): Promise<void> {
    return this.call<void>({ method: "DELETE", path });
  }

  /** Readiness answers 503 with the same document. */
  readiness<T>(signal?: AbortSignal): Promise<T> {
    return this.call<T>({
      method: "GET",
      path: "/readyz",
      alsoFine: [503],
      ...(signal && { signal }),
    });
  }

  private async call<T>(call: Call): Promise<T> {
    const used = this.session.token();
    // A last timer of a screen that is going away: there is nobody to ask for.
    if (this.session.snapshot().status === "signed_out") throw signedOut();
    let response = await this.send(call);
    if (response.status === 401 && (await this.renewed(used))) response = await this.send(call);
    if (!response.ok && !call.alsoFine?.includes(response.status)) throw await problemOf(response);
    if (response.status === 204) return undefined as T;
    return (await response.json()) as T;
  }

  private async renewed(used: string | null): Promise<boolean> {
    // Another request may have renewed it while this one was on its way.
    if (used !== this.session.token() && this.session.token() !== null) return true;
    return (await this.session.refresh()) === "ok";
  }

  private async send(call: Call): Promise<Response> {
    const headers: Record<string, string> = { Accept: "application/json" };
    const token = this.session.token();
    if (token !== null) headers.Authorization = `Bearer ${token}`;
    if (call.body !== undefined) headers["Content-Type"] = "application/json";
    if (call.idempotencyKey !== undefined) headers["Idempotency-Key"] = call.idempotencyKey;
    try {
      return await this.fetcher(call.path, {
        method: call.method,
        headers,
        credentials: "same-origin",
        ...(call.body !== undefined && { body: JSON.stringify(call.body) }),
        ...(call.signal !== undefined && { signal: call.signal }),
      });
    } catch (error) {
      if (error instanceof DOMException && error.name === "AbortError") throw error;
      throw unreachable();
    }
  }
}
