// @ts-check
// What a step of the sample page shows: its state, how long it took, and, in words, what went wrong and the way out.

/** @param {string} id @returns {any} */
export const byId = (id) => document.getElementById(id);

/** What went wrong, by the server's code or one of the page's own: the cause, and the way out.
 * @type {Record<string, [cause: string, wayOut: string]>} */
const WORDS = {
  missing_token: ['The request carried no token.', 'Sign in again, or paste a token. If a cookie should say who you are, set JWT_COOKIE or AUTH_ANONYMOUS on the server.'],
  invalid_token: ['The server does not accept this token.', 'Check that JWT_SECRET, JWT_PUBLIC_KEY or JWKS_URL belongs to the issuer of the token, and that JWT_ISSUER and JWT_AUDIENCE match it.'],
  expired_token: ['The token has expired.', 'Get a fresh one from your site and paste it here. If it is fresh, compare the clocks of the two machines.'],
  not_a_jwt: ['This is not a JWT.', 'A JWT has three parts with dots between them: paste the whole of it, without quotes.'],
  workflow_not_allowed: ['The server does not serve this workflow.', 'Ask for a name listed in CHATKIT_WORKFLOWS, or add the workflow there.'],
  session_mismatch: ['This session belongs to somebody else.', 'Sign out and in again, so that the chat starts with a session of your own.'],
  origin_not_allowed: ['The server does not accept this page’s origin.', `Add ${location.origin} to CORS_ALLOWED_ORIGINS.`],
  http_403: ['The server refused this user.', 'Read what it says below. If the answer is not from chatkit-server, look at the proxy in front of it.'],
  http_404: ['There is no chatkit-server behind this address.', 'Open this page at the server’s own address, or let your reverse proxy pass /api/chatkit/ on to it, path unchanged.'],
  rate_limited: ['Too many requests.', 'RATE_LIMIT_USER_PER_MINUTE and RATE_LIMIT_IP_PER_MINUTE set the limits. Behind a proxy, set TRUSTED_PROXIES too, or all visitors share one limit.'],
  http_429: ['Something in front of the server says: too many requests.', 'Look at the limits of your reverse proxy or CDN.'],
  upstream_auth_failed: ['OpenAI refused the server’s API key.', 'Check OPENAI_API_KEY (and OPENAI_ORG_ID, OPENAI_PROJECT_ID): “chatkit-server check” tries it.'],
  upstream_rejected: ['OpenAI refused to start the session.', 'Mostly the workflow and the API key belong to different projects, or CHATKIT_WORKFLOW_ID is wrong. The server’s log says which.'],
  upstream_quota_exhausted: ['The OpenAI account has no quota left.', 'Add credit or raise the spending limit at platform.openai.com under Settings, Billing.'],
  upstream_invalid_response: ['OpenAI’s answer made no sense to the server.', 'Check CHATKIT_API_BASE, and that no proxy in between rewrites the answers.'],
  upstream_unavailable: ['The server cannot reach OpenAI, or OpenAI is down.', 'Check the server’s way out (firewall, HTTPS_PROXY), then status.openai.com.'],
  upstream_rate_limited: ['OpenAI says that the server asks too often.', 'Wait a little, or ask OpenAI for a higher limit.'],
  upstream_timeout: ['OpenAI did not answer in time.', 'Try again. If it stays so, check the server’s way out, or raise UPSTREAM_TIMEOUT_SECONDS.'],
  overloaded: ['The server is busy.', 'Try again in a moment. MAX_CONCURRENT_REQUESTS sets how much it takes on.'],
  shutting_down: ['The server is shutting down.', 'Start it again, or wait for its replacement.'],
  not_ready: ['The server is not ready yet.', 'Open /readyz: it says what is missing.'],
  http_502: ['A proxy in front of the server got no usable answer from it.', 'Check that chatkit-server runs, and the address and port your proxy passes requests to.'],
  http_503: ['A proxy in front of the server says: unavailable.', 'Check that chatkit-server runs and that its health check passes.'],
  http_504: ['A proxy in front of the server waited too long for it.', 'Check that chatkit-server runs; give the proxy a longer time than UPSTREAM_TIMEOUT_SECONDS.'],
  unreachable: ['The server cannot be reached.', `Check that it runs and that ${location.origin} is its address. On a page of another origin this is also what a CORS refusal looks like: add that origin to CORS_ALLOWED_ORIGINS.`],
  no_answer: ['The server did not answer in time.', 'Look at its log, and at the time limits of any proxy in front of it.'],
  bad_answer: ['The answer was not what the server sends.', 'Something else may answer at this address: a proxy, a log-in page, or an older version.'],
  script_blocked: ['chatkit.js did not load.', 'The network is off or blocks the CDN, or an ad blocker does. Allow cdn.platform.openai.com, or set CHATKIT_ASSETS=proxy so that this server delivers the script.'],
  script_proxy: ['The server could not get chatkit.js from the CDN.', 'Check the server’s way out (firewall, HTTPS_PROXY) and CHATKIT_CDN_BASE, or let browsers load it themselves with CHATKIT_ASSETS=cdn.'],
  script_csp: ['The page’s Content-Security-Policy blocks chatkit.js.', 'Allow the CDN in script-src and frame-src, or set CHATKIT_ASSETS=proxy.'],
  script_timeout: ['chatkit.js is still loading, far too late.', 'A firewall may swallow the request. Allow cdn.platform.openai.com, or set CHATKIT_ASSETS=proxy.'],
  not_defined: ['The script loaded, but it defined no <openai-chatkit>.', 'Open its address in a new tab: if a log-in or error page shows up, a proxy answers in the CDN’s place. The browser’s console shows errors in the script.'],
  frame_csp: ['The page’s Content-Security-Policy blocks the widget’s frame.', 'Allow the CDN in frame-src.'],
  never_ready: ['The widget is there, but its frame stays blank.', `Nearly always the domain is not on OpenAI’s allow-list: add ${location.hostname} at platform.openai.com under Settings, Security, Domain allowlist (localhost needs no entry), and in self-hosted mode set CHATKIT_DOMAIN_KEY to the key that it shows. Else an ad blocker or firewall stops the frame.`],
  widget_error: ['The widget reported an error.', 'If a step above failed too, mend that first. If the chat went blank, check that this domain is on OpenAI’s allow-list (Settings, Security, Domain allowlist).'],
  other: ['The request failed.', 'Read what the server says below; its log has a line with the same request id.'],
};

/** One thing that went wrong, in terms that WORDS can explain. */
export class Failure extends Error {
  /** @param {string} code
   * @param {{ status?: number, answer?: string, says?: string, requestId?: string | null, wait?: number }} [facts] */
  constructor(code, facts = {}) {
    super(facts.says || (WORDS[code] ?? WORDS.other)[0]);
    this.code = code;
    this.facts = facts;
  }
}

/** One line of the list: its state, how long it took, and what went wrong.
 * @param {string} id */
export function step(id) {
  const root = byId(id);
  const part = (/** @type {string} */ name) => root.querySelector(`.${name}`);
  let since = 0;
  const show = (/** @type {string} */ state, /** @type {string} */ label, detail = '') => {
    const isEnd = state === 'ok' || state === 'failed';
    if (!isEnd) part('took').textContent = '';
    else if (since) part('took').textContent = `${Math.round(performance.now() - since)} ms`;
    since = state === 'running' ? performance.now() : 0;
    root.dataset.state = state;
    part('state').textContent = label;
    part('detail').textContent = detail;
    part('outcome').replaceChildren();
    if (isEnd) announce(`${root.querySelector('h3').textContent}: ${label}. ${detail}`);
  };
  return {
    waiting: (/** @type {string} */ detail) => show('waiting', 'Waiting', detail),
    running: (/** @type {string} */ detail) => show('running', 'Running', detail),
    ok: (/** @type {string} */ detail) => root.dataset.state !== 'ok' || since ? show('ok', 'OK', detail) : (part('detail').textContent = detail),
    failed(/** @type {any} */ failure, /** @type {(() => void) | undefined} */ retry = undefined, before = '') {
      show('failed', 'Failed');
      part('outcome').append(explain(failure, before));
      announce(part('outcome').querySelector('.cause').textContent);
      const button = part('outcome').querySelector('.retry');
      if (!retry) return button.remove();
      button.addEventListener('click', () => {
        root.tabIndex = -1;
        root.focus(); // the button goes away: keep the place
        retry();
      });
    },
  };
}

/** @param {any} error @param {string} before */
function explain(error, before) {
  const failure = error instanceof Failure ? error : new Failure('other', { says: String(error) });
  const { status, answer, says, requestId, wait } = failure.facts;
  const [cause, wayOut] = WORDS[failure.code] ?? WORDS[`http_${status}`] ?? WORDS.other;
  const box = byId('failure').content.cloneNode(true);
  const fill = (/** @type {string} */ name, /** @type {string | undefined | false} */ text, holder = name) => {
    box.querySelector(`.${name}`).textContent = text && text.replace(/\b(ek_|eyJ)[\w.-]+/g, '$1…'); // no secret reaches the page's text
    if (!text) box.querySelector(`.${holder}`).remove();
  };
  fill('cause', before + cause);
  fill('remedy', (wait ? `Wait ${wait} ${wait === 1 ? 'second' : 'seconds'}, then try again. ` : '') + wayOut);
  fill('says', says && `${failure.code === 'widget_error' ? 'The widget' : 'The server'} says: “${says}”`);
  fill('request-id', requestId || '', 'request');
  fill('answer', answer);
  return box;
}

/** Tells a screen reader, without moving anybody's focus. @param {string} text */
export function announce(text) {
  const line = document.createElement('p');
  line.textContent = text;
  byId('announcer').append(line);
  while (byId('announcer').children.length > 6) byId('announcer').firstChild.remove();
}

let countdown = 0;

/** Hosted answers carry no end of life: it is counted from the time to live that the server is configured with.
 * @param {number | undefined} seconds */
export function countDown(seconds) {
  stopCountdown();
  if (!seconds) return;
  const end = Date.now() + seconds * 1000;
  const tick = () => {
    const left = Math.max(0, Math.round((end - Date.now()) / 1000));
    byId('countdown').textContent = left
      ? `${Math.floor(left / 60)}:${String(left % 60).padStart(2, '0')} left`
      : 'This session has ended. The widget asks for a new one when it needs it.';
    if (!left) clearInterval(countdown);
  };
  countdown = setInterval(tick, 1000);
  tick();
  byId('countdown').hidden = false;
}

/** There is no session to count for any more. */
export function stopCountdown() {
  clearInterval(countdown);
  byId('countdown').hidden = true;
}
