// @ts-check
// A `fetch` for ChatKit in self-hosted mode: it gives every request to chatkit-server its client secret.
//
//   import { chatkitFetch } from './chatkit-fetch.js';
//   const { api } = await (await fetch('/api/chatkit/config')).json();
//   element.setOptions({ api: { ...api, fetch: chatkitFetch({ url: api.url }) } });
//
// Take this file as it is: it imports nothing and needs no build step. Where TypeScript reads it, take its types along:
// chatkit-fetch.d.ts.
//
// - One session is minted for however many requests wait for it. A mint that failed is tried again by the next request.
// - The session is refreshed shortly before its end, and once when the server answers 401; then the request is
//   sent once more. A request whose body is a stream can't be: its 401 is handed on, and the next request refreshes.
// - A server that is ending or busy answers 503 with `Retry-After`. The request is sent again after that time, at most twice,
//   when the time is 5 seconds or less. Again not a body that is a stream.
// - When the server refuses to mint, its refusal is the answer: ChatKit shows the `message` in it.
// - The secret lives in this closure alone. It is never stored, and never sent to another origin than that of `url`.

/** What `POST /api/chatkit/session` and `/refresh` answer.
 * @typedef {{ client_secret: string, expires_at?: string }} Session */

/** @typedef {object} Settings
 * @property {string} [url] Where the server speaks the ChatKit protocol, like `api.url`: `/api/chatkit`.
 * @property {string} [sessionUrl] Where a session is minted: `{url}/session`.
 * @property {string} [refreshUrl] Where it is refreshed: `{url}/refresh`.
 * @property {() => HeadersInit | Promise<HeadersInit>} [getHeaders] Says who the user is when a session is asked for,
 *   as in `async () => ({ Authorization: `Bearer ${await myToken()}` })`. Asked anew each time. Cookies need none of it.
 * @property {object} [body] What is asked for besides, as in `{ workflow: 'support' }`.
 * @property {RequestCredentials} [credentials] `include` where a cookie signs in at another origin: `same-origin`.
 * @property {(current: string | null) => Promise<Response | Session>} [getSession] In place of all of the above, for
 *   a site that mints in a way of its own. It is given the secret to replace, or null.
 * @property {number} [refreshBefore] How many seconds before its end a session is refreshed: 30.
 * @property {number} [timeout] How many seconds a session may be waited for: 20.
 * @property {typeof globalThis.fetch} [fetch] What sends the requests: the browser's own. */

/** A `fetch` for ChatKit's `api.fetch`.
 * @param {Settings} [settings]
 * @returns {typeof globalThis.fetch} */
export function chatkitFetch(settings = {}) {
  const { url = '/api/chatkit', refreshBefore = 30 } = settings;
  const { fetch = (input, init) => globalThis.fetch(input, init) } = settings;
  const getSession = settings.getSession ?? askServer({ ...settings, url, fetch });
  const home = originOf(url);
  /** @type {Held | null} */ let session = null;
  /** @type {Promise<Held> | null} */ let minting = null;

  async function mint() {
    const since = Date.now();
    return (session = await hold(await getSession(session?.secret ?? null), since, refreshBefore * 1000));
  }

  /** The session to send with: the one at hand, or a new one. */
  async function current() {
    if (session && Date.now() < session.renewAt) return session;
    try {
      return await (minting ??= mint().finally(() => (minting = null)));
    } catch (failure) {
      if (session && Date.now() < session.endsAt) return session; // it will do until the next request asks again
      session = null; // the next mint does not depend on it
      throw failure;
    }
  }

  return async (input, init) => {
    const request = input instanceof Request ? input : null;
    if (originOf(request?.url ?? String(input)) !== home) return fetch(input, init);
    const signal = init?.signal ?? request?.signal;
    signal?.throwIfAborted();
    const isStream = init?.body instanceof ReadableStream;
    const send = (/** @type {Held} */ { secret }) => {
      const headers = new Headers(init?.headers ?? request?.headers);
      headers.set('Authorization', `Bearer ${secret}`);
      const once = () => {
        const target = request && !init?.body ? request.clone() : input; // a Request can be sent once
        return fetch(target, { ...init, headers, redirect: 'error' }); // a redirect could carry the secret elsewhere
      };
      return isStream ? once() : untilReady(once, signal);
    };
    try {
      const used = await unlessAborted(current(), signal);
      const answer = await send(used);
      if (answer.status !== 401) return answer;
      used.renewAt = used.endsAt = 0;
      return isStream ? answer : await send(await unlessAborted(current(), signal));
    } catch (failure) {
      if (failure instanceof Refused) return failure.answer.clone(); // one refusal may answer many
      throw failure;
    }
  };
}

/** The built-in `getSession`.
 * @param {Settings & { url: string, fetch: typeof globalThis.fetch }} settings
 * @returns {(current: string | null) => Promise<Response>} */
function askServer({ url, sessionUrl = `${url}/session`, refreshUrl = `${url}/refresh`, getHeaders, body, credentials, timeout = 20, fetch }) {
  const mayKnow = originOf(refreshUrl) === originOf(url);
  return async (current) => {
    const headers = new Headers(await getHeaders?.());
    headers.set('Content-Type', 'application/json');
    const signal = AbortSignal.timeout(timeout * 1000);
    const once = () => fetch(current ? refreshUrl : sessionUrl, {
      method: 'POST',
      headers,
      body: JSON.stringify(current && mayKnow ? { ...body, currentClientSecret: current } : { ...body }),
      ...(credentials && { credentials }),
      cache: 'no-store',
      redirect: 'error',
      signal,
    });
    return untilReady(once, signal);
  };
}

/** A session in use, its times by the clock of this machine.
 * @typedef {{ secret: string, renewAt: number, endsAt: number }} Held */

/** Reads a session. Its life is the server's: by the server's own clock where the answer says what that is. A life
 * that makes no sense by this machine's clock is not believed: then a 401 says that it is over.
 * @param {Response | Session} answer @param {number} since @param {number} before
 * @returns {Promise<Held>} */
async function hold(answer, since, before) {
  const isResponse = answer instanceof Response;
  if (isResponse && !answer.ok) throw new Refused(answer);
  const session = isResponse ? /** @type {Session} */ (await answer.json()) : answer;
  if (typeof session?.client_secret !== 'string') throw new TypeError('The answer to the request for a session holds no client_secret.');
  const now = (isResponse && Date.parse(answer.headers.get('date') ?? '')) || since;
  const life = Date.parse(session.expires_at ?? '') - now;
  if (!(life > 0)) return { secret: session.client_secret, renewAt: Infinity, endsAt: Infinity };
  return { secret: session.client_secret, renewAt: since + Math.max(life - before, life / 2), endsAt: since + life };
}

/** The server did not mint. */
class Refused extends Error {
  /** @param {Response} answer */
  constructor(answer) {
    super(`The request for a session was refused with ${answer.status}.`);
    this.answer = answer;
  }
}

/** Sends a request, and again while the server is ending or busy.
 * @param {() => Promise<Response>} send @param {AbortSignal | null | undefined} signal @returns {Promise<Response>} */
async function untilReady(send, signal) {
  for (let left = 2; ; left -= 1) {
    const answer = await send();
    const seconds = Number(answer.headers.get('retry-after') ?? NaN);
    if (answer.status !== 503 || left === 0 || !(seconds <= 5)) return answer;
    await answer.body?.cancel();
    await unlessAborted(new Promise((resolve) => setTimeout(resolve, seconds * 1000)), signal);
  }
}

/** Stops waiting when the signal says so; what is waited for goes on for the others.
 * @template T @param {Promise<T>} promise @param {AbortSignal | null | undefined} signal @returns {Promise<T>} */
function unlessAborted(promise, signal) {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const leave = () => reject(signal.reason);
    signal.addEventListener('abort', leave, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', leave));
  });
}

/** @param {string} url */
const originOf = (url) => new URL(url, globalThis.document?.baseURI ?? globalThis.location?.href).origin;
