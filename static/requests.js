// @ts-check
// How the sample page asks the server, and what it makes of a refusal.

import { Failure } from './steps.js';

/** How long an answer may take, in milliseconds, before the page says that it failed. */
const DEADLINE = 20_000;

/** Sends a request; what is not a success becomes a Failure.
 * @param {string} method @param {string} path @param {object} [body] @param {string | null} [token] */
export async function send(method, path, body, token) {
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(), DEADLINE);
  /** @type {Record<string, string>} */ const headers = {};
  if (body) headers['Content-Type'] = 'application/json';
  if (token) headers.Authorization = `Bearer ${token}`;
  try {
    const answer = await fetch(path, { method, headers, body: body && JSON.stringify(body), signal: abort.signal, cache: 'no-store' });
    if (answer.ok) return answer;
    throw await refusal(answer);
  } catch (cause) {
    throw cause instanceof Failure ? cause : new Failure(abort.signal.aborted ? 'no_answer' : 'unreachable');
  } finally {
    clearTimeout(timer);
  }
}

/** @param {Response} answer */
async function refusal(answer) {
  const body = await answer.json().catch(() => null);
  const code = body?.error?.code ?? `http_${answer.status}`;
  return new Failure(code, {
    status: answer.status,
    answer: body?.error ? `${answer.status} ${code}` : String(answer.status),
    says: body?.message ?? body?.error?.message,
    requestId: answer.headers.get('x-request-id') ?? body?.error?.request_id,
    wait: Number(answer.headers.get('retry-after')) || 0,
  });
}

/** What a token says of its user, for the eye alone: the server decides. @param {string} token */
export function subjectOf(token) {
  try {
    const bytes = Uint8Array.from(atob(token.split('.')[1].replace(/-/g, '+').replace(/_/g, '/')), (char) => char.charCodeAt(0));
    const { sub } = JSON.parse(new TextDecoder().decode(bytes));
    return sub ? `Its subject is ${sub}.` : '';
  } catch {
    return '';
  }
}

/** @returns {never} */
export function badAnswer() {
  throw new Failure('bad_answer');
}
