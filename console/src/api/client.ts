/** One call of the REST API: JSON, ETag, CSRF token, problem documents. */

import { isAttended } from './presence';
import type { Problem } from './types';

export type Query = Record<string, string | number | boolean | undefined>;
export type Request = {
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  path: string;
  query?: Query;
  body?: unknown;
  /** Version that the write expects, as in `metadata.resourceVersion`; `*` for any. */
  version?: string | undefined;
  /** Nothing may stand there yet. */
  fresh?: boolean;
};

/** What the write expects, as a header. */
export function condition(request: Request): [name: string, value: string] | undefined {
  if (request.fresh) return ['If-None-Match', '*'];
  if (request.version === undefined) return undefined;
  return ['If-Match', request.version === '*' ? '*' : `"${request.version}"`];
}

/** An answer that is not a success. */
export class ApiError extends Error {
  readonly problem: Problem;
  constructor(problem: Problem) {
    super(problem.detail ?? problem.title);
    this.problem = problem;
  }
  get status() {
    return this.problem.status;
  }
}

export const BASE = '/api/v1';
const TIMEOUT_MS = 30_000;

let csrfToken: string | undefined;
let onUnauthenticated = () => {};

export function setCsrfToken(token: string | undefined) {
  csrfToken = token;
}

/** Called when an answer says that nobody is logged in. */
export function setOnUnauthenticated(callback: () => void) {
  onUnauthenticated = callback;
}

export function address(request: Request): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(request.query ?? {})) {
    if (value !== undefined && value !== '') query.set(name, String(value));
  }
  const text = query.toString();
  return BASE + request.path + (text ? `?${text}` : '');
}

export async function call<Answer>(request: Request, signal?: AbortSignal): Promise<Answer> {
  const headers: Record<string, string> = { accept: 'application/json' };
  if (request.body !== undefined) {
    headers['content-type'] = request.method === 'PATCH' ? 'application/merge-patch+json' : 'application/json';
  }
  const expected = condition(request);
  if (expected) headers[expected[0]] = expected[1];
  if (request.method === 'GET' && !isAttended()) headers['x-occm-background'] = '1';
  if (request.method !== 'GET' && csrfToken) headers['x-csrf-token'] = csrfToken;
  const limit = AbortSignal.timeout(TIMEOUT_MS);
  let response: Response;
  try {
    response = await fetch(address(request), {
      method: request.method,
      headers,
      body: request.body === undefined ? null : JSON.stringify(request.body),
      credentials: 'same-origin',
      redirect: 'error',
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError({
      title: 'No answer',
      status: 0,
      code: 'Unreachable',
      detail: limit.aborted ? 'the server did not answer within 30 seconds' : 'the server cannot be reached',
    });
  }
  if (response.ok) {
    const text = await response.text();
    return (text ? JSON.parse(text) : undefined) as Answer;
  }
  const problem = await problemOf(response);
  if (response.status === 401 && request.path !== '/session') onUnauthenticated();
  throw new ApiError(problem);
}

async function problemOf(response: Response): Promise<Problem> {
  const plain = { title: response.statusText || 'Error', status: response.status, code: String(response.status) };
  try {
    return { ...plain, ...((await response.json()) as Partial<Problem>), status: response.status };
  } catch {
    return plain;
  }
}

export const get = <Answer>(path: string, query?: Query, signal?: AbortSignal) =>
  call<Answer>({ method: 'GET', path, query: query ?? {} }, signal);

/** Path of an object; every part is encoded. */
export function objectPath(kind: 'certificates' | 'issuers', namespace: string, name: string, action?: string) {
  const path = `/${kind}/${encodeURIComponent(namespace)}/${encodeURIComponent(name)}`;
  return action ? `${path}/${action}` : path;
}

/**
 * Sends a request about one object. When the object changed since it was read, and the request says the same whatever
 * changed (renew, recreate, delete), it is read again and the request sent once more.
 */
export async function send<Answer>(request: Request, again: boolean): Promise<Answer> {
  try {
    return await call<Answer>(request);
  } catch (error) {
    if (!(again && error instanceof ApiError && error.status === 412)) throw error;
    const path = request.path.split('/').slice(0, 4).join('/');
    const current = await get<{ metadata: { resourceVersion?: string } }>(path);
    return call<Answer>({ ...request, version: current.metadata.resourceVersion });
  }
}
