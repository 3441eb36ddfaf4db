import { describe, expect, test, vi } from "vitest";
import { Api } from "@/http/api";
import { isProblem } from "@/http/problem";
import { Session } from "./session";

type Handler = (path: string, init: RequestInit) => Response | Promise<Response>;

const json = (status: number, body: unknown, headers: Record<string, string> = {}) =>
  new Response(JSON.stringify(body), {
    status,
    headers: { "content-type": "application/json", ...headers },
  });

const user = { id: "usr_1", email: "a@example.com", role: "admin" as const };
const grant = (n: number) => ({ access_token: `t${n}`, expires_in: 900, user });
const bearer = (init: RequestInit) => (init.headers as Record<string, string>).Authorization;

function build(handler: Handler) {
  const fetcher = vi.fn((path: string, init: RequestInit = {}) =>
    Promise.resolve().then(() => handler(path, init)),
  ) as unknown as typeof fetch;
  const session = new Session({ fetch: fetcher, alone: (work) => work(), now: () => 0 });
  return { session, api: new Api(session, fetcher), fetcher: vi.mocked(fetcher) };
}

describe("the session", () => {
  test("a browser with a cookie is signed in by the first refresh", async () => {
    const { session } = build(() => json(200, grant(1)));
    await session.start();
    expect(session.snapshot()).toEqual({ status: "signed_in", user });
    expect(session.token()).toBe("t1");
    expect(session.renewIn()).toBe(720_000);
  });

  test("a new browser is asked to sign in, without being told that a session ended", async () => {
    const { session } = build(() => json(401, { code: "unauthenticated" }));
    await session.start();
    expect(session.snapshot()).toEqual({ status: "signed_out", expired: false });
  });

  test("a server that does not answer is not a sign-out", async () => {
    const { session } = build(() => {
      throw new TypeError("failed to fetch");
    });
    await session.start();
    expect(session.snapshot().status).toBe("unreachable");
  });

  test("a refused login tells status, code and the wait", async () => {
    const { session } = build(() => json(429, { code: "throttled" }, { "retry-after": "12" }));
    const error = await session.login("a@example.com", "x").catch((caught: unknown) => caught);
    expect(isProblem(error) && [error.status, error.retryAfterS]).toEqual([429, 12]);
    expect(session.token()).toBeNull();
  });

  test("twenty requests that meet a 401 renew the token once and all succeed", async () => {
    let refreshes = 0;
    const { session, api } = build((path, init) => {
      if (path === "/api/v1/auth/login") return json(200, grant(1));
      if (path === "/api/v1/auth/refresh") {
        refreshes += 1;
        return json(200, grant(2));
      }
      return bearer(init) === "Bearer t2" ? json(200, { items: [] }) : json(401, {});
    });
    await session.login("a@example.com", "x");
    const all = await Promise.all(
      Array.from({ length: 20 }, () => api.get<{ items: unknown[] }>("/api/v1/jobs")),
    );
    expect(all).toHaveLength(20);
    expect(refreshes).toBe(1);
  });

  test("a session that cannot be renewed ends at the sign-in and says so", async () => {
    const { session, api } = build((path) =>
      path === "/api/v1/auth/login" ? json(200, grant(1)) : json(401, { code: "unauthenticated" }),
    );
    await session.login("a@example.com", "x");
    await expect(api.get("/api/v1/jobs")).rejects.toMatchObject({ status: 401 });
    expect(session.snapshot()).toEqual({ status: "signed_out", expired: true });
    expect(session.token()).toBeNull();
  });

  test("signing out forgets the token even when the server is away", async () => {
    const { session } = build((path) => {
      if (path === "/api/v1/auth/login") return json(200, grant(1));
      throw new TypeError("failed to fetch");
    });
    await session.login("a@example.com", "x");
    await session.logout();
    expect(session.token()).toBeNull();
  });
});

test("nothing is asked for once the session has ended", async () => {
  const { session, api, fetcher } = build((path) =>
    path === "/api/v1/auth/login" ? json(200, grant(1)) : new Response(null, { status: 204 }),
  );
  await session.login("a@example.com", "x");
  await session.logout();
  fetcher.mockClear();
  await expect(api.get("/api/v1/jobs")).rejects.toMatchObject({ code: "signed_out" });
  expect(fetcher).not.toHaveBeenCalled();
});

describe("requests", () => {
  test("a problem document keeps its fields and request id", async () => {
    const { api } = build(() =>
      json(422, {
        title: "Invalid",
        code: "invalid",
        detail: "The request has errors.",
        errors: [{ field: "hours", code: "too_big", message: "at most 8760" }],
        request_id: "req_1",
      }),
    );
    await expect(api.post("/x", {}, "k")).rejects.toMatchObject({
      status: 422,
      code: "invalid",
      requestId: "req_1",
      fields: [{ field: "hours", code: "too_big", message: "at most 8760" }],
    });
  });

  test("a page of a proxy instead of a problem is still an error with its status", async () => {
    const { api } = build(() => new Response("<html>", { status: 502, statusText: "Bad Gateway" }));
    await expect(api.get("/x")).rejects.toMatchObject({ status: 502, code: "http_502" });
  });

  test("readiness reads the body of a 503", async () => {
    const { api } = build(() => json(503, { status: "down", parts: {} }));
    await expect(api.readiness()).resolves.toEqual({ status: "down", parts: {} });
  });

  test("a post carries its idempotency key", async () => {
    const { api, fetcher } = build(() => json(202, {}));
    await api.post("/x", { a: 1 }, "key-1");
    expect(fetcher.mock.calls[0]?.[1]?.headers).toMatchObject({ "Idempotency-Key": "key-1" });
  });
});
