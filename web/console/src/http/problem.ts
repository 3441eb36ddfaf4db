/** What went wrong with one request, in the words of the server's problem document. */
export interface FieldError {
  field: string;
  code: string;
  message: string;
}

export class Problem extends Error {
  constructor(
    /** 0 when there was no answer at all. */
    readonly status: number,
    readonly code: string,
    message: string,
    readonly fields: readonly FieldError[] = [],
    readonly requestId: string | null = null,
    readonly retryAfterS: number | null = null,
  ) {
    super(message);
  }
}

export const isProblem = (error: unknown): error is Problem => error instanceof Problem;

export function unreachable(): Problem {
  return new Problem(0, "unreachable", "The server did not answer. Check the connection.");
}

export function signedOut(): Problem {
  return new Problem(401, "signed_out", "You are signed out.");
}

const text = (value: unknown): string | null => (typeof value === "string" ? value : null);

function fieldErrors(value: unknown): FieldError[] {
  if (!Array.isArray(value)) return [];
  return value.map((entry: Record<string, unknown>) => ({
    field: text(entry?.field) ?? "",
    code: text(entry?.code) ?? "",
    message: text(entry?.message) ?? "",
  }));
}

/** Seconds of a `Retry-After`, which may be a number or a date. */
export function retryAfter(header: string | null, now: number): number | null {
  if (header === null) return null;
  const seconds = Number(header);
  if (Number.isFinite(seconds)) return Math.max(0, Math.ceil(seconds));
  const date = Date.parse(header);
  return Number.isNaN(date) ? null : Math.max(0, Math.ceil((date - now) / 1000));
}

export async function problemOf(response: Response): Promise<Problem> {
  let body: Record<string, unknown> = {};
  try {
    body = (await response.json()) as Record<string, unknown>;
  } catch {
    // A proxy's page instead of a problem document: the status still tells what happened.
  }
  const message =
    text(body.detail) ?? text(body.title) ?? (response.statusText || "Request failed");
  return new Problem(
    response.status,
    text(body.code) ?? `http_${response.status}`,
    message,
    fieldErrors(body.errors),
    text(body.request_id) ?? response.headers.get("x-request-id"),
    retryAfter(response.headers.get("retry-after"), Date.now()),
  );
}
