// @ts-check
// The sample page: it signs you in, mints a session, loads the widget, and shows at each step how it went.

import { chatkitFetch } from './chatkit-fetch.js';
import { loadScript, tooLate } from './loader.js';
import { chatClient } from './protocol.js';
import { badAnswer, send, subjectOf } from './requests.js';
import { Failure, announce, byId, countDown, step, stopCountdown } from './steps.js';
import { startTextBox } from './textbox.js';

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

/** What was last selected on this page. */
let selected = '';
document.addEventListener('selectionchange', () => (selected = String(getSelection()) || selected));

/** What the agent may ask of this page: a name from the agent's client tools, and what answers it.
 * @type {Record<string, (params: any) => Record<string, unknown>>} */
const TOOLS = {
  get_selection: () => ({ page: document.title, text: selected }),
};

/** @type {ClientTool} */
const onClientTool = ({ name, params }) =>
  Object.hasOwn(TOOLS, name) ? TOOLS[name](params) : { error: `This page has no tool ${name}.` };

/** Hosted mode, the widget's way to a session at OpenAI. `post` sends JSON to this server with the user's token.
 * @type {(post: Post) => Api} */
const hosted = (post) => ({
  async getClientSecret(current) {
    return (await session(post, current)).client_secret;
  },
});

/** Self-hosted mode, the widget's way to this server. `api` is what GET /api/chatkit/config says.
 * @type {(post: Post, api: CustomApi) => CustomApi} */
const selfHosted = (post, api) => ({
  ...api,
  fetch: chatkitFetch({ url: api.url, getSession: (current) => session(post, current) }),
});

/** @type {(post: Post, current: string | null) => Promise<Session>} */
const session = (post, current) =>
  current ? post('/api/chatkit/refresh', { currentClientSecret: current }) : post('/api/chatkit/session', {});

/** Gives an <openai-chatkit> its look and its way to the chat. `dictation`: whether the server turns speech into text.
 * @type {(element: Widget, api: Api, colorScheme: Scheme, dictation?: boolean) => void} */
function wire(element, api, colorScheme, dictation = false) {
  element.setOptions({
    ...LOOK,
    theme: { ...LOOK.theme, colorScheme },
    composer: { ...LOOK.composer, ...('uploadStrategy' in api && { attachments: { enabled: true } }), dictation: { enabled: dictation } },
    ...('url' in api && { onClientTool, history: { enabled: true, showDelete: true, showRename: true } }),
    api,
  });
}

// ── to here ──────────────────────────────────────────────────────────────────────────────────────────────

/** How long each thing may take, in milliseconds, before the page says that it failed. */
const DEADLINE = { define: 5_000, ready: 15_000 };

/** @typedef {import('@openai/chatkit').OpenAIChatKit} Widget */
/** @typedef {import('@openai/chatkit').ColorScheme} Scheme */
/** @typedef {Omit<import('@openai/chatkit').ChatKitOptions, 'api' | 'theme'> & { theme: import('@openai/chatkit').ThemeOption }} Look */
/** @typedef {import('@openai/chatkit').ChatKitOptions['api']} Api */
/** @typedef {import('@openai/chatkit').CustomApiConfig} CustomApi */
/** @typedef {NonNullable<import('@openai/chatkit').ChatKitOptions['onClientTool']>} ClientTool */
/** @typedef {import('./chatkit-fetch.js').Session} Session */
/** @typedef {(path: string, body: object) => Promise<Session>} Post */
/** @typedef {{ mode: string, scriptUrl: string, api?: CustomApi, dictation?: boolean, sessionTtlSeconds?: number, dev?: boolean, anonymous?: boolean }} Config */
/** @typedef {{ token: string | null, name: string, api: Api, first: Promise<Session> | null, minted: boolean, refreshes: number }} Visitor */

/** @type {Config} */ let config;
/** chatkit.js, once somebody wants it; none after it failed. @type {Promise<unknown> | null} */ let script = null;
/** The one signed in: their token lives here and nowhere else. @type {Visitor | null} */
let visitor = null;
/** Takes the text box down, where there is one. @type {(() => void) | null} */
let endTextBox = null;

const steps = { who: step('who'), session: step('session'), widget: step('widget') };
const darkMode = matchMedia('(prefers-color-scheme: dark)');

document.addEventListener('securitypolicyviolation', (event) => {
  if (event.effectiveDirective === 'frame-src') widgetFailed(new Failure('frame_csp'));
});
darkMode.addEventListener('change', () => {
  for (const element of document.querySelectorAll('openai-chatkit')) if (visitor) wire(element, visitor.api, colorScheme(), config.dictation);
});
document.addEventListener('submit', (event) => {
  event.preventDefault();
  if (event.target === byId('dev-form')) return signIn(byId('dev-name').value, null);
  if (event.target !== byId('jwt-form')) return;
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
    // What this page alone wants to know: whether /dev/token signs in, whether visitors may, how long a session lives.
    Object.assign(config, await send('GET', '/sample.json').then((answer) => answer.json()).catch(() => ({})));
  } catch (failure) {
    return steps.who.failed(failure, begin);
  }
  steps.who.waiting(config.anonymous ? 'This server welcomes visitors without a token too.' : '');
  byId('textbox-choice').hidden = !config.api;
  byId('textbox').checked = !!config.api && location.hash === '#textbox';
  byId('dev-name').value = sessionStorage.getItem('chatkit-sample-name') ?? 'ada';
  showSignIn();
  if (chosenPlace() === 'text') showChat();
  else getScript();
  if (config.dev) signIn(byId('dev-name').value, null, false);
}

/** @param {string} name @param {string | null} token @param {boolean} [isAsked] whether somebody pressed a button for it */
async function signIn(name, token, isAsked = true) {
  leave();
  /** @type {Post} */ const post = (path, body) => mintFor(me, path, body);
  /** @type {Visitor} */ const me = { token, name, api: config.api ? selfHosted(post, config.api) : hosted(post), first: null, minted: false, refreshes: 0 };
  visitor = me;
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
  if (isAsked) byId('sign-out').focus();
  await mintFirst();
}

/** Mints before the widget asks, so that this step tells its own story; the widget's first question gets this answer. */
async function mintFirst() {
  const me = visitor;
  if (!me) return;
  me.first = mint(me, '/api/chatkit/session', {});
  try {
    await me.first;
    me.minted = true;
    if (me === visitor) showChat();
  } catch {
    me.first = null; // mint has named what went wrong
  }
}

/** Answers the chat when it asks for a session.
 * @param {Visitor} me @param {string} path @param {object} body */
async function mintFor(me, path, body) {
  const { first } = me;
  me.first = null;
  return path.endsWith('/session') && first ? first : mint(me, path, body);
}

/** @param {Visitor} me @param {string} path @param {object} body @returns {Promise<Session>} */
async function mint(me, path, body) {
  if (me !== visitor) throw new Failure('missing_token');
  const isRefresh = path.endsWith('/refresh');
  steps.session.running(isRefresh ? 'The chat asked for a new one.' : 'Asking the server for one.');
  try {
    const session = await (await sendAs(me, 'POST', path, body)).json().catch(badAnswer);
    if (!session?.client_secret) throw new Failure('bad_answer');
    if (me !== visitor) return session;
    if (isRefresh) me.refreshes += 1;
    if (!me.name) steps.who.ok(me.token ? `The server accepts your token. ${subjectOf(me.token)}` : 'The server knows you by a cookie.');
    steps.session.ok(me.refreshes ? `Refreshed ${me.refreshes === 1 ? 'once' : `${me.refreshes} times`} since you signed in.` : config.api ? 'The server signed one.' : 'The server minted one at OpenAI.');
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
    if (!visitor) steps.session.waiting(config.api ? 'Your sessions have ended.' : 'Your sessions have ended, at OpenAI too.');
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
  endTextBox?.();
  endTextBox = null;
  for (const holder of [byId('inline-chat'), byId('bubble-chat')]) holder.replaceChildren();
  steps.session.waiting('Needs to know who you are.');
  if (byId('widget').dataset.state !== 'failed') steps.widget.waiting('Needs a session.');
  showChat();
}

/** @param {boolean} [again] show the form although somebody is signed in */
function showSignIn(again = false) {
  const open = again || !visitor;
  byId('dev-form').hidden = !config.dev; // who is signed in may become somebody else
  byId('jwt-form').hidden = !open || !!config.dev;
  byId('as-visitor').hidden = !(open || config.dev) || !config.anonymous;
  byId('sign-out').hidden = !visitor;
}

const focusSignIn = () => byId(config.dev ? 'dev-name' : 'jwt').focus();

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

/** Fetches chatkit.js; the sign-in does not wait for it. Who wants the widget says how it failed. */
function getScript() {
  steps.widget.running('Loading chatkit.js.');
  script = loadScript(config.scriptUrl);
  script.then(
    () => steps.widget.waiting('The script is here. Needs a session.'),
    () => {
      script = null;
      steps.widget.waiting('Needs a session.');
      showIdle();
    },
  );
  return script;
}

/** Says why there is no widget. In self-hosted mode one can chat without it. @param {any} failure */
function widgetFailed(failure) {
  steps.widget.failed(failure, reloadWidget);
  if (!config.api || failure.code === 'widget_error' || chosenPlace() !== 'inline') return;
  byId('textbox').checked = true;
  byId('text-instead').hidden = false;
  showChat();
}

/** @returns {string} */
const chosenPlace = () => /** @type {HTMLInputElement} */ (document.querySelector('[name=place]:checked')).value;

/** Puts the chat where the switch says, once there is a session for it. */
function showChat() {
  const place = chosenPlace();
  const minted = !!visitor?.minted;
  byId('inline-chat').hidden = place !== 'inline' || !minted;
  byId('text-chat').hidden = place !== 'text' || !minted;
  byId('nothing-yet').textContent = !minted
    ? 'The chat appears here once you are signed in.'
    : place === 'bubble' ? 'The chat waits in the bubble at the lower right.' : 'No chat yet: step 3 says why.';
  byId('bubble').hidden = place !== 'bubble' || !minted;
  if (place !== 'bubble') closeBubble();
  if (minted && place === 'inline') placeWidget(byId('inline-chat'));
  if (minted && place === 'text') placeTextBox();
  showIdle();
}

/** Says why nothing is done about the widget. */
function showIdle() {
  if (byId('widget').dataset.state !== 'waiting') return;
  if (chosenPlace() === 'text') steps.widget.waiting('The text box needs none. “Inline” loads it.');
  else if (visitor?.minted && chosenPlace() === 'bubble') steps.widget.waiting('Open the bubble: it loads the widget.');
}

/** Starts the text box, which shares the session with the widget. */
function placeTextBox() {
  const api = visitor?.api;
  if (endTextBox || !api || !('url' in api)) return;
  const { url, fetch, uploadStrategy } = api;
  const uploadUrl = uploadStrategy?.type === 'direct' ? uploadStrategy.uploadUrl : undefined;
  endTextBox = startTextBox(chatClient({ url, fetch, uploadUrl }), onClientTool);
}

/** Creates the widget in its holder. It is never moved from there: a moved iframe loads anew and loses the chat.
 * @param {HTMLElement} holder */
async function placeWidget(holder) {
  const me = visitor;
  if (!me || holder.firstElementChild) return;
  try {
    const loading = script ?? getScript();
    steps.widget.running('Loading chatkit.js.');
    await loading;
    if (me !== visitor || holder.firstElementChild) return;
    steps.widget.running('Waiting for the widget’s frame.');
    await Promise.race([customElements.whenDefined('openai-chatkit'), tooLate(DEADLINE.define, 'not_defined')]);
  } catch (failure) {
    return me === visitor && widgetFailed(failure);
  }
  if (me !== visitor || holder.firstElementChild) return;
  const element = document.createElement('openai-chatkit');
  const isReady = () => element.isConnected && steps.widget.ok('The chat is ready.');
  element.addEventListener('chatkit.ready', isReady);
  element.addEventListener('chatkit.response.end', isReady); // it has recovered from an earlier error
  element.addEventListener('chatkit.error', ({ detail }) => {
    if (element.isConnected) widgetFailed(new Failure('widget_error', { says: detail?.error?.message }));
  });
  new MutationObserver(isReady).observe(element, { attributeFilter: ['data-loaded'] });
  tooLate(DEADLINE.ready, 'never_ready').catch((failure) => {
    if (element.isConnected && byId('widget').dataset.state === 'running') widgetFailed(failure);
  });
  wire(element, me.api, colorScheme(), config.dictation);
  holder.append(element);
}

function reloadWidget() {
  if (!byId('text-instead').hidden) byId('inline').checked = true; // nobody chose the text box
  byId('text-instead').hidden = true;
  for (const holder of [byId('inline-chat'), byId('bubble-chat')]) holder.replaceChildren();
  if (!customElements.get('openai-chatkit')) script = null;
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
