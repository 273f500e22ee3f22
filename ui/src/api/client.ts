/** The one way to the gateway: /api/v1, JSON, problems by RFC 9457. */

export interface FieldError {
  /** A JSON pointer into what was sent. */
  pointer: string;
  detail: string;
}

/** An answer that is not a success. Status 0: there was no answer. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    detail: string,
    readonly errors: FieldError[] = [],
    /** The revision in force, where the answer names one. */
    readonly etag: string | null = null,
  ) {
    super(detail);
  }

  /** What a person is told: the detail, with errors that have no place of their own. */
  get sentences(): string[] {
    return [this.message, ...this.errors.map((e) => `${e.pointer}: ${e.detail}`)];
  }

  /** The words for "confirm" that would let the change through. */
  get confirmable(): string[] {
    const found = /"confirm": (\[[^\]]*\])/.exec(this.message);
    return found?.[1] ? (JSON.parse(found[1]) as string[]) : [];
  }
}

export interface Options {
  query?: Record<string, string | number | boolean | undefined>;
  /** Sent as JSON; a string or Blob goes as it is, as text/plain. */
  body?: unknown;
  ifMatch?: string | null;
  accept?: string;
  signal?: AbortSignal;
}

export interface Answer<T> {
  data: T;
  etag: string | null;
}

let csrf = '';
let onExpiry: () => void = () => {};

export function setCsrf(token: string): void {
  csrf = token;
}

/** Called when an answer says that nobody is logged in any more. */
export function setOnExpiry(then: () => void): void {
  onExpiry = then;
}

export function target(path: string, query: Options['query'] = {}): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query))
    if (value !== undefined && value !== '') parameters.set(name, String(value));
  const text = parameters.toString();
  return `/api/v1${path}${text && `?${text}`}`;
}

function prepare(method: string, options: Options): RequestInit {
  const { body, ifMatch, accept = 'application/json', signal } = options;
  const plain = typeof body === 'string' || body instanceof Blob;
  const headers: Record<string, string> = { Accept: accept };
  if (method !== 'GET') headers['X-CSRF-Token'] = csrf;
  if (ifMatch) headers['If-Match'] = ifMatch;
  if (body !== undefined) headers['Content-Type'] = plain ? 'text/plain' : 'application/json';
  return {
    method,
    headers,
    signal: signal ?? null,
    credentials: 'same-origin',
    cache: 'no-store',
    body: body === undefined ? null : plain ? body : JSON.stringify(body),
  };
}

async function refusal(response: Response): Promise<ApiError> {
  const problem = (await response.json().catch(() => ({}))) as {
    detail?: string; title?: string; errors?: FieldError[];
  };
  const detail = problem.detail ?? problem.title ?? `The gateway answered ${response.status}.`;
  return new ApiError(response.status, detail, problem.errors, response.headers.get('ETag'));
}

async function send(method: string, path: string, options: Options): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(target(path, options.query), prepare(method, options));
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new ApiError(0, 'The console does not answer. Is it running, and the network up?');
  }
  if (response.ok) return response;
  const error = await refusal(response);
  if (error.status === 401 && path !== '/login') onExpiry();
  throw error;
}

/** The answer with its revision. 204 has no data. */
export async function ask<T>(method: string, path: string, options: Options = {}): Promise<Answer<T>> {
  const response = await send(method, path, options);
  const type = response.headers.get('Content-Type') ?? '';
  const data = response.status === 204 ? undefined
    : type.includes('json') ? await response.json() : await response.text();
  return { data: data as T, etag: response.headers.get('ETag') };
}

export const get = async <T>(path: string, options: Options = {}): Promise<T> =>
  (await ask<T>('GET', path, options)).data;
export const post = async <T>(path: string, body?: unknown, options: Options = {}): Promise<T> =>
  (await ask<T>('POST', path, { ...options, body })).data;
export const patch = async <T>(path: string, body: unknown, options: Options = {}): Promise<T> =>
  (await ask<T>('PATCH', path, { ...options, body })).data;
export const put = async <T>(path: string, body: unknown, options: Options = {}): Promise<T> =>
  (await ask<T>('PUT', path, { ...options, body })).data;
export const remove = async <T = void>(path: string, options: Options = {}): Promise<T> =>
  (await ask<T>('DELETE', path, options)).data;
