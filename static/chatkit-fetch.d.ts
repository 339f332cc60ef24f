// The types of chatkit-fetch.js. Copy both files: TypeScript finds this one beside it.

/** What `POST /api/chatkit/session` and `/refresh` answer. */
export type Session = { client_secret: string; expires_at?: string };

export type Settings = {
  /** Where the server speaks the ChatKit protocol, like `api.url`: `/api/chatkit`. */
  url?: string | undefined;
  /** Where a session is minted: `{url}/session`. */
  sessionUrl?: string | undefined;
  /** Where it is refreshed: `{url}/refresh`. */
  refreshUrl?: string | undefined;
  /** Says who the user is when a session is asked for, as in
   * `async () => ({ Authorization: `Bearer ${await myToken()}` })`. Asked anew each time. Cookies need none of it. */
  getHeaders?: (() => HeadersInit | Promise<HeadersInit>) | undefined;
  /** What is asked for besides, as in `{ workflow: 'support' }`. */
  body?: object | undefined;
  /** `include` where a cookie signs in at another origin: `same-origin`. */
  credentials?: RequestCredentials | undefined;
  /** In place of all of the above, for a site that mints in a way of its own. It is given the secret to replace, or null. */
  getSession?: ((current: string | null) => Promise<Response | Session>) | undefined;
  /** How many seconds before its end a session is refreshed: 30. */
  refreshBefore?: number | undefined;
  /** How many seconds a session may be waited for: 20. */
  timeout?: number | undefined;
  /** What sends the requests: the browser's own. */
  fetch?: typeof globalThis.fetch | undefined;
};

/** A `fetch` for ChatKit's `api.fetch`. */
export function chatkitFetch(settings?: Settings): typeof globalThis.fetch;
