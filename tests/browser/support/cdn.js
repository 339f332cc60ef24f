// A stand-in for OpenAI's CDN: a chatkit.js and a frame that behave towards the page as the real ones do.
//
// The script defines <openai-chatkit>: a shadow root with one style element and a frame, whose absolute address is
// written into the script; the frame's own script lies under /assets/ck1/. Page and frame exchange messages; the element takes `data-loaded` and fires
// `chatkit.ready` when the frame has answered. The chat's own behaviour is not imitated. For the tests, the frame
// has `askForSecret()`, which asks the page's getClientSecret again.

import { once } from 'node:events';
import { createServer } from 'node:http';

/** `behaviour` may be changed at any time: "works", "missing", "hangs", "defines nothing", "silent frame". */
export async function startCdn(t) {
  const cdn = { behaviour: 'works', origin: '', scriptRequests: 0 };
  const server = createServer((request, response) => answer(cdn, request, response));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  cdn.origin = `http://127.0.0.1:${server.address().port}`;
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return cdn;
}

function answer(cdn, request, response) {
  const { pathname } = new URL(request.url, cdn.origin);
  const send = (type, body) => response.writeHead(200, { 'content-type': `${type}; charset=utf-8` }).end(body);
  if (pathname === '/deployments/chatkit/chatkit.js') {
    cdn.scriptRequests += 1;
    if (cdn.behaviour === 'hangs') return;
    if (cdn.behaviour === 'defines nothing') return send('text/javascript', 'void 0;');
    if (cdn.behaviour !== 'missing') return send('text/javascript', `(${loader})(${JSON.stringify(`${cdn.origin}/deployments/chatkit/index-standin.html`)});`);
  }
  if (pathname === '/deployments/chatkit/index-standin.html') {
    return send('text/html', cdn.behaviour === 'silent frame' ? '<!doctype html>' : FRAME);
  }
  if (pathname === '/assets/ck1/standin.js') return send('text/javascript', `(${frame})();`);
  response.writeHead(404).end();
}

/** Runs in the page. */
function loader(frameUrl) {
  const frameOrigin = new URL(frameUrl).origin;
  class OpenAIChatKit extends HTMLElement {
    #options = null;
    #frame = document.createElement('iframe');

    constructor() {
      super();
      const style = document.createElement('style');
      style.textContent = ':host { display: block; } iframe { border: 0; width: 100%; height: 100%; }';
      this.attachShadow({ mode: 'open' }).append(style, this.#frame);
    }

    connectedCallback() {
      addEventListener('message', this.#hear);
      this.#frame.title = this.#options?.frameTitle ?? 'Chat';
      this.#frame.src = frameUrl;
    }

    disconnectedCallback() {
      removeEventListener('message', this.#hear);
    }

    setOptions(options) {
      if (typeof options?.api?.getClientSecret !== 'function') throw new Error('Invalid frame params: at api');
      this.#options = options;
      if (this.dataset.loaded) this.#tell({ type: 'options', options: this.#plain() });
    }

    #plain = () => JSON.parse(JSON.stringify({ ...this.#options, api: {} }));
    #tell = (message) => this.#frame.contentWindow.postMessage(message, frameOrigin);
    #fire = (name, detail) => this.dispatchEvent(new CustomEvent(`chatkit.${name}`, { detail }));

    #hear = async ({ source, origin, data }) => {
      if (source !== this.#frame.contentWindow || origin !== frameOrigin) return;
      if (data.type === 'hello') this.#tell({ type: 'options', options: this.#plain() });
      if (data.type === 'error') this.#fire('error', { error: new Error(data.message) });
      if (data.type === 'ready' && !this.dataset.loaded) {
        this.dataset.loaded = 'true';
        this.#fire('ready');
      }
      if (data.type === 'secret') {
        const reply = await this.#options.api.getClientSecret(data.current).then(
          (value) => ({ value }),
          (error) => ({ error: error.message }),
        );
        this.#tell({ type: 'secret', id: data.id, ...reply });
      }
    };
  }
  customElements.define('openai-chatkit', OpenAIChatKit);
}

/** Runs in the frame. */
function frame() {
  const tell = (message) => parent.postMessage(message, '*');
  const waiting = new Map();
  let started = false;
  window.secret = null;
  window.askForSecret = (current = window.secret) =>
    new Promise((resolve) => {
      const id = crypto.randomUUID();
      waiting.set(id, resolve);
      tell({ type: 'secret', id, current });
    });
  window.reportError = (message) => tell({ type: 'error', message });
  addEventListener('message', ({ source, data }) => {
    if (source !== parent) return;
    if (data.type === 'options') show(data.options);
    if (data.type === 'secret') {
      if (data.value) window.secret = data.value;
      else tell({ type: 'error', message: data.error });
      waiting.get(data.id)?.(data);
    }
  });
  tell({ type: 'hello' });

  function show(options) {
    window.options = options;
    document.documentElement.dataset.scheme = options.theme?.colorScheme ?? 'light';
    document.body.style.setProperty('--accent', options.theme?.color?.accent?.primary ?? '#222');
    const add = (tag, text, to = document.body) => to.appendChild(Object.assign(document.createElement(tag), { textContent: text }));
    document.body.replaceChildren();
    add('h1', options.startScreen?.greeting ?? 'Hello');
    const list = add('ul', '');
    for (const { label } of options.startScreen?.prompts ?? []) add('button', label, add('li', '', list));
    const composer = add('input', '');
    composer.placeholder = composer.ariaLabel = options.composer?.placeholder ?? 'Message';
    tell({ type: 'ready' });
    if (!started) window.askForSecret();
    started = true;
  }
}

const FRAME = `<!doctype html>
<html lang="en"><title>Chat</title>
<style>
  html { color-scheme: light; background: #fff; color: #222; font: 16px/1.5 system-ui, sans-serif; height: 100%; }
  html[data-scheme="dark"] { color-scheme: dark; background: #1c1f1e; color: #eee; }
  body { display: flex; flex-direction: column; box-sizing: border-box; margin: 0; padding: 1.5rem; height: 100%; }
  h1 { font-size: 1.5rem; margin: auto 0 1rem; }
  ul { list-style: none; margin: 0 0 auto; padding: 0; }
  button { margin-bottom: .5rem; padding: .5rem .875rem; border: 1px solid #8884; border-radius: 99px; background: none; color: inherit; font: inherit; }
  input { padding: .75rem 1rem; border: 1px solid #8886; border-radius: 1rem; font: inherit; outline-color: var(--accent); }
</style>
<body><script src="/assets/ck1/standin.js"></script>`;
