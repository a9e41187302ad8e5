// Requests to the server. Routes of the API (v1/...) take a tenant's key; the page's own (ui/api/...) and admin routes
// take the admin key where there is one, else the tenant's.
import { useCallback, useEffect, useState } from "preact/hooks";

import { texts } from "../texts.en";
import { onKeyChange, readKey } from "./keys";

/** An answer other than 2xx, or none at all (status 0); `message` says what to do. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly code: string | null = null,
  ) {
    super(message);
  }
}

export function keyFor(path: string): string {
  const tenant = readKey("tenant");
  const admin = readKey("admin");
  return path.startsWith("v1/") ? tenant : admin || tenant;
}

/** Send a request with the key that the route takes. Throws ApiError. */
export async function send(path: string, init: RequestInit = {}): Promise<Response> {
  const key = keyFor(path);
  const headers = new Headers(init.headers);
  if (key) headers.set("authorization", `Bearer ${key}`);
  let response: Response;
  try {
    response = await fetch(path, { ...init, headers, credentials: "omit", cache: "no-store" });
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new ApiError(0, texts.problems.unreachable);
  }
  if (!response.ok) throw await readError(response);
  return response;
}

/** Return the JSON of a route. Throws ApiError. */
export async function getJson<T>(path: string, signal?: AbortSignal): Promise<T> {
  return (await (await send(path, signal ? { signal } : {})).json()) as T;
}

/** Post JSON and return the answer's. Throws ApiError. */
export async function postJson<T>(path: string, body: unknown, signal?: AbortSignal): Promise<T> {
  const init: RequestInit = {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  };
  return (await (await send(path, signal ? { ...init, signal } : init)).json()) as T;
}

export interface Loaded<T> {
  /** The last answer; it stays while a newer one is fetched. */
  data: T | null;
  error: ApiError | null;
  loading: boolean;
  reload: () => void;
}

/** Fetch a route, again when it or the key changes; null fetches nothing. */
export function useData<T>(path: string | null): Loaded<T> {
  const [state, setState] = useState<Omit<Loaded<T>, "reload">>({ data: null, error: null, loading: path !== null });
  const [turn, setTurn] = useState(0);
  const reload = useCallback(() => setTurn((before) => before + 1), []);
  useEffect(() => onKeyChange(reload), [reload]);
  useEffect(() => {
    if (path === null) return;
    const abort = new AbortController();
    setState((before) => ({ ...before, loading: true }));
    getJson<T>(path, abort.signal).then(
      (data) => setState({ data, error: null, loading: false }),
      (error: unknown) => {
        if (!abort.signal.aborted) setState((before) => ({ ...before, error: toApiError(error), loading: false }));
      },
    );
    return () => abort.abort();
  }, [path, turn]);
  return { ...state, reload };
}

export function toApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  return new ApiError(0, error instanceof Error ? error.message : String(error));
}

async function readError(response: Response): Promise<ApiError> {
  try {
    const body = (await response.json()) as { error?: { message?: string; code?: string | null } };
    return new ApiError(response.status, body.error?.message ?? response.statusText, body.error?.code ?? null);
  } catch {
    return new ApiError(response.status, `HTTP ${response.status} ${response.statusText}`);
  }
}
