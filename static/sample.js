// @ts-check
// The sample page: it signs you in, mints a session, loads the widget, and shows at each step how it went.

import { Failure, announce, byId, countDown, step, stopCountdown } from './steps.js';

// ── Copy from here ───────────────────────────────────────────────────────────────────────────────────────

/** How the chat looks and how it starts. All options:
 * https://openai.github.io/chatkit-js/customize
 * @type {Look} */
const LOOK = {
  theme: {
    radius: 'round',
    density: 'normal',
    color: { accent: { primary: '#0b6b58', level: 1 } },
  },
  startScreen: {
    greeting: 'How can we help you today?',
    prompts: [
      { label: 'What can you do?', prompt: 'What can you help me with?' },
      { label: 'Draft an e-mail', prompt: 'Draft a short, friendly e-mail.' },
      { label: 'Give me an idea', prompt: 'An idea for a rainy Sunday?' },
    ],
  },
  composer: { placeholder: 'Write a message' },
};

/** Gives an <openai-chatkit> its look and its way to a session.
 * `post` sends JSON to this server with the user's token.
 * @type {(element: Widget, post: Post, colorScheme: Scheme) => void} */
function wire(element, post, colorScheme) {
  element.setOptions({
    ...LOOK,
    theme: { ...LOOK.theme, colorScheme },
    api: {
      async getClientSecret(current) {
        const session = current
          ? await post('/api/chatkit/refresh', { currentClientSecret: current })
          : await post('/api/chatkit/session', {});
        return session.client_secret;
      },
    },
  });
}

// ── to here ──────────────────────────────────────────────────────────────────────────────────────────────

/** How long each thing may take, in milliseconds, before the page says that it failed. */
const DEADLINE = { request: 20_000, script: 15_000, define: 5_000, ready: 15_000 };

/** @typedef {import('@openai/chatkit').OpenAIChatKit} Widget */
/** @typedef {import('@openai/chatkit').ColorScheme} Scheme */
/** @typedef {Omit<import('@openai/chatkit').ChatKitOptions, 'api' | 'theme'> & { theme: import('@openai/chatkit').ThemeOption }} Look */
/** @typedef {{ client_secret: string }} Session */
/** @typedef {(path: string, body: object) => Promise<Session>} Post */
/** @typedef {{ scriptUrl: string, sessionTtlSeconds?: number, dev?: boolean, anonymous?: boolean }} Config */
/** @typedef {{ token: string | null, name: string, first: Promise<Session> | null, minted: boolean, refreshes: number }} Visitor */

/** @type {Config} */ let config;
/** @type {Promise<unknown>} */ let script;
/** The one signed in: their token lives here and nowhere else. @type {Visitor | null} */
let visitor = null;

const steps = { who: step('who'), session: step('session'), widget: step('widget') };
const darkMode = matchMedia('(prefers-color-scheme: dark)');
/** @type {SecurityPolicyViolationEvent[]} */ const violations = [];

document.addEventListener('securitypolicyviolation', (event) => {
  violations.push(event);
  if (event.effectiveDirective === 'frame-src') steps.widget.failed(new Failure('frame_csp'), reloadWidget);
});
darkMode.addEventListener('change', () => {
  for (const element of document.querySelectorAll('openai-chatkit')) wire(element, post, colorScheme());
});
document.addEventListener('submit', (event) => {
  event.preventDefault();
  if (event.target === byId('dev-form')) return signIn(byId('dev-name').value, null);
  const pasted = byId('jwt').value.trim().replace(/^Bearer\s+/i, '');
  byId('jwt').value = '';
  signIn('', pasted || null);
});
byId('as-visitor').addEventListener('click', () => signIn('', null));
byId('sign-out').addEventListener('click', signOut);
for (const choice of document.getElementsByName('place')) choice.addEventListener('change', showChat);
byId('bubble').addEventListener('click', () => (byId('bubble-panel').open ? closeBubble() : openBubble()));
byId('bubble-close').addEventListener('click', closeBubble);
byId('bubble-panel').addEventListener('keydown', (/** @type {KeyboardEvent} */ event) => {
  if (event.key === 'Escape') closeBubble();
});
byId('source').addEventListener('toggle', showSource);
byId('copy').addEventListener('click', copySource);
begin();

/** Asks the server how it is set up, and with that how one signs in and where the script is. */
async function begin() {
  steps.who.running('Asking the server how it is set up.');
  try {
    config = await (await send('GET', '/api/chatkit/config')).json().catch(badAnswer);
  } catch (failure) {
    return steps.who.failed(failure, begin);
  }
  steps.who.waiting(config.anonymous ? 'This server welcomes visitors without a token too.' : '');
  byId('dev-name').value = sessionStorage.getItem('chatkit-sample-name') ?? 'ada';
  showSignIn();
  loadScript();
}

/** @param {string} name @param {string | null} token */
async function signIn(name, token) {
  leave();
  const me = (visitor = { token, name, first: null, minted: false, refreshes: 0 });
  steps.who.running('Signing in.');
  try {
    if (token && !/^[\w-]+\.[\w-]+\.[\w-]+$/.test(token)) throw new Failure('not_a_jwt');
    if (name) {
      me.token = await devToken(name);
      sessionStorage.setItem('chatkit-sample-name', name);
      if (me === visitor) steps.who.ok(`Signed in as ${name}.`);
    } else {
      steps.who.running('The server checks who you are as it mints the session.');
    }
  } catch (failure) {
    if (me !== visitor) return;
    visitor = null;
    return steps.who.failed(failure);
  }
  if (me !== visitor) return;
  showSignIn();
  byId('sign-out').focus();
  await mintFirst();
}

/** Mints before the widget asks, so that this step tells its own story; the widget's first question gets this answer. */
async function mintFirst() {
  const me = visitor;
  if (!me) return;
  me.first = mint('/api/chatkit/session', {});
  try {
    await me.first;
    me.minted = true;
    if (me === visitor) showChat();
  } catch {
    me.first = null; // mint has named what went wrong
  }
}

/** Answers the widget's getClientSecret.
 * @param {string} path @param {object} body */
async function post(path, body) {
  const first = visitor?.first;
  if (visitor) visitor.first = null;
  return path.endsWith('/session') && first ? first : mint(path, body);
}

/** @param {string} path @param {object} body @returns {Promise<Session>} */
async function mint(path, body) {
  const me = visitor;
  if (!me) throw new Failure('missing_token');
  const isRefresh = path.endsWith('/refresh');
  steps.session.running(isRefresh ? 'The widget asked for a new one.' : 'Asking the server for one.');
  try {
    const session = await (await sendAs(me, 'POST', path, body)).json().catch(badAnswer);
    if (!session?.client_secret) throw new Failure('bad_answer');
    if (me !== visitor) return session;
    if (isRefresh) me.refreshes += 1;
    if (!me.name) steps.who.ok(me.token ? `The server accepts your token. ${subjectOf(me.token)}` : 'The server knows you by a cookie.');
    steps.session.ok(me.refreshes ? `Refreshed ${me.refreshes === 1 ? 'once' : `${me.refreshes} times`} since you signed in.` : 'The server minted one at OpenAI.');
    countDown(config.sessionTtlSeconds);
    return session;
  } catch (failure) {
    if (me === visitor) nameMintFailure(failure, isRefresh);
    throw failure;
  }
}

/** @param {any} failure @param {boolean} isRefresh */
function nameMintFailure(failure, isRefresh) {
  if (failure.facts?.status === 401) {
    const hadFocus = document.activeElement === byId('sign-out');
    if (!visitor?.minted) visitor = null;
    stopCountdown();
    steps.session.waiting('Needs to know who you are.');
    steps.who.failed(failure);
    showSignIn(true);
    if (hadFocus) focusSignIn();
  } else {
    if (!visitor?.name && !isRefresh) steps.who.waiting('The server has not confirmed who you are.');
    steps.session.failed(failure, isRefresh ? undefined : mintFirst);
  }
}

async function signOut() {
  const me = visitor;
  if (!me) return;
  leave();
  steps.who.waiting('You are signed out.');
  showSignIn();
  focusSignIn();
  steps.session.running('Ending your sessions.');
  try {
    await sendAs(me, 'DELETE', '/api/chatkit/session');
    if (!visitor) steps.session.waiting('Your sessions have ended, at OpenAI too.');
    announce('Signed out.');
  } catch (failure) {
    if (!visitor) steps.session.failed(failure, undefined, 'You are signed out here, but the server could not end your session: it lives on to its natural end. ');
  }
}

/** Forgets the visitor and takes down what was theirs. */
function leave() {
  visitor = null;
  stopCountdown();
  closeBubble();
  for (const holder of [byId('inline-chat'), byId('bubble-chat')]) holder.replaceChildren();
  steps.session.waiting('Needs to know who you are.');
  if (byId('widget').dataset.state !== 'failed') steps.widget.waiting('Needs a session.');
  showChat();
}

/** @param {boolean} [again] show the form although somebody is signed in */
function showSignIn(again = false) {
  const open = again || !visitor;
  byId('dev-form').hidden = !open || !config.dev;
  byId('jwt-form').hidden = !open || !!config.dev;
  byId('as-visitor').hidden = !open || !config.anonymous;
  byId('sign-out').hidden = !visitor;
}

const focusSignIn = () => byId(config.dev ? 'dev-name' : 'jwt').focus();

/** Sends a request; what is not a success becomes a Failure.
 * @param {string} method @param {string} path @param {object} [body] @param {string | null} [token] */
async function send(method, path, body, token) {
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(), DEADLINE.request);
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

/** Sends with the visitor's token; under `dev` an expired one is renewed.
 * @param {Visitor} me @param {string} method @param {string} path @param {object} [body] */
async function sendAs(me, method, path, body) {
  try {
    return await send(method, path, body, me.token);
  } catch (failure) {
    if (!(failure instanceof Failure) || failure.code !== 'expired_token' || !me.name) throw failure;
    me.token = await devToken(me.name);
    return send(method, path, body, me.token);
  }
}

/** @param {string} user @returns {Promise<string>} */
const devToken = async (user) => (await (await send('POST', '/dev/token', { user })).json().catch(badAnswer)).token;

/** What a token says of its user, for the eye alone: the server decides. @param {string} token */
function subjectOf(token) {
  try {
    const bytes = Uint8Array.from(atob(token.split('.')[1].replace(/-/g, '+').replace(/_/g, '/')), (char) => char.charCodeAt(0));
    const { sub } = JSON.parse(new TextDecoder().decode(bytes));
    return sub ? `Its subject is ${sub}.` : '';
  } catch {
    return '';
  }
}

/** @returns {never} */
function badAnswer() {
  throw new Failure('bad_answer');
}

/** @param {number} ms @param {string} code @returns {Promise<never>} */
const tooLate = (ms, code) => new Promise((_, reject) => setTimeout(reject, ms, new Failure(code)));

/** Adds chatkit.js to the page; the sign-in does not wait for it. */
function loadScript() {
  const tag = Object.assign(document.createElement('script'), { async: true, src: config.scriptUrl });
  const loaded = new Promise((resolve, reject) => {
    tag.onload = resolve;
    tag.onerror = () => setTimeout(async () => reject(await whyNoScript())); // after the CSP has reported
  });
  steps.widget.running('Loading chatkit.js.');
  script = Promise.race([loaded, tooLate(DEADLINE.script, 'script_timeout')]);
  script.then(
    () => steps.widget.waiting('The script is here. Needs a session.'),
    (failure) => steps.widget.failed(failure, reloadWidget),
  );
  document.head.append(tag);
}

/** A script element does not say why it failed: the CSP's report and, where the script is ours, the server do. */
async function whyNoScript() {
  const { origin, href } = new URL(config.scriptUrl, location.href);
  const isCsp = violations.some((seen) => seen.effectiveDirective.startsWith('script-src') && seen.blockedURI.startsWith(origin));
  if (isCsp) return new Failure('script_csp');
  const blocked = new Failure('script_blocked');
  if (origin !== location.origin) return blocked;
  return send('GET', href).then(() => blocked, (failure) => new Failure('script_proxy', failure.facts));
}

/** Puts the chat where the switch says, once there is a session for it. */
function showChat() {
  const inBubble = /** @type {HTMLInputElement} */ (document.querySelector('[name=place]:checked')).value === 'bubble';
  const minted = !!visitor?.minted;
  byId('inline-chat').hidden = inBubble || !minted;
  byId('nothing-yet').textContent = !minted
    ? 'The chat appears here once you are signed in.'
    : inBubble ? 'The chat waits in the bubble at the lower right.' : 'No chat yet: step 3 says why.';
  byId('bubble').hidden = !inBubble || !minted;
  if (!inBubble) closeBubble();
  if (minted && !inBubble) placeWidget(byId('inline-chat'));
  if (minted && inBubble && byId('widget').dataset.state === 'waiting') steps.widget.waiting('Open the bubble: it loads the widget.');
}

/** Creates the widget in its holder. It is never moved from there: a moved iframe loads anew and loses the chat.
 * @param {HTMLElement} holder */
async function placeWidget(holder) {
  const me = visitor;
  if (!(await script.then(() => true, () => false))) return; // loadScript has named it
  if (me !== visitor || holder.firstElementChild) return;
  steps.widget.running('Waiting for the widget’s frame.');
  try {
    await Promise.race([customElements.whenDefined('openai-chatkit'), tooLate(DEADLINE.define, 'not_defined')]);
  } catch (failure) {
    return steps.widget.failed(failure, reloadWidget);
  }
  if (me !== visitor || holder.firstElementChild) return;
  const element = document.createElement('openai-chatkit');
  const isReady = () => element.isConnected && steps.widget.ok('The chat is ready.');
  element.addEventListener('chatkit.ready', isReady);
  element.addEventListener('chatkit.response.end', isReady); // it has recovered from an earlier error
  element.addEventListener('chatkit.error', ({ detail }) => {
    if (element.isConnected) steps.widget.failed(new Failure('widget_error', { says: detail?.error?.message }), reloadWidget);
  });
  new MutationObserver(isReady).observe(element, { attributeFilter: ['data-loaded'] });
  tooLate(DEADLINE.ready, 'never_ready').catch((failure) => {
    if (element.isConnected && byId('widget').dataset.state === 'running') steps.widget.failed(failure, reloadWidget);
  });
  wire(element, post, colorScheme());
  holder.append(element);
}

function reloadWidget() {
  for (const holder of [byId('inline-chat'), byId('bubble-chat')]) holder.replaceChildren();
  if (!customElements.get('openai-chatkit')) loadScript();
  if (byId('bubble-panel').open) placeWidget(byId('bubble-chat'));
  showChat();
}

/** @returns {Scheme} */
const colorScheme = () => (darkMode.matches ? 'dark' : 'light');

function openBubble() {
  byId('bubble-panel').show();
  byId('bubble').setAttribute('aria-expanded', 'true');
  placeWidget(byId('bubble-chat'));
}

function closeBubble() {
  const hadFocus = byId('bubble-panel').contains(document.activeElement);
  byId('bubble-panel').close();
  byId('bubble').setAttribute('aria-expanded', 'false');
  if (hadFocus) byId('bubble').focus(); // Safari does not focus a clicked button, so there is nothing for close() to return to
}

/** Shows the part of this file that is marked for copying. */
async function showSource() {
  if (byId('source-code').textContent) return;
  const text = await (await send('GET', import.meta.url)).text().catch(() => '');
  byId('source-code').textContent = text.split(/^\/\/ ── .*\n/m)[1]?.trim() ?? '';
}

async function copySource() {
  await navigator.clipboard.writeText(byId('source-code').textContent);
  announce('Copied.');
}
