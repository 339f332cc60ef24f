// The stand-in for OpenAI's widget: what chatkit.js and the frame do towards the page, and a chat that is as plain as can be.
//
// The element has a shadow root with one style element and a frame. Page and frame exchange messages; the element takes
// `data-loaded` and fires `chatkit.ready` when the frame has answered. Hosted, the frame has `askForSecret()`, which asks
// the page's getClientSecret again. Self-hosted, the frame chats: its requests leave from the page, through `api.fetch`.

/** Runs in the page. */
export function loader(frameUrl) {
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
      const { getClientSecret, url, domainKey } = options?.api ?? {};
      if (typeof getClientSecret !== 'function' && !(url && domainKey)) throw new Error('Invalid frame params: at api');
      this.#options = options;
      if (this.dataset.loaded) this.#tell({ type: 'options', options: this.#plain() });
    }

    sendUserMessage = async ({ text }) => this.#tell({ type: 'say', text });
    setThreadId = async (id) => this.#tell({ type: 'open', id });

    #running = new Map();
    #plain = () => JSON.parse(JSON.stringify({ ...this.#options, api: { url: this.#options.api.url } }));
    #tell = (message) => this.#frame.contentWindow.postMessage(message, frameOrigin);
    #fire = (name, detail) => this.dispatchEvent(new CustomEvent(`chatkit.${name}`, { detail }));

    #hear = async ({ source, origin, data }) => {
      if (source !== this.#frame.contentWindow || origin !== frameOrigin) return;
      if (data.type === 'hello') this.#tell({ type: 'options', options: this.#plain() });
      if (data.type === 'request') this.#request(data);
      if (data.type === 'stop') this.#running.get(data.id)?.abort();
      if (data.type === 'fire') this.#fire(data.name, data.detail);
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

    /** Makes a request of the frame, from the page and with the page's `fetch`. */
    async #request({ id, body, file, tool }) {
      const { api, onClientTool } = this.#options;
      const tell = (message) => this.#tell({ id, ...message });
      const abort = new AbortController();
      this.#running.set(id, abort);
      try {
        if (tool) return tell({ type: 'end', json: await onClientTool(tool) });
        const form = file && new FormData();
        form?.append('file', file);
        const answer = await (api.fetch ?? fetch)(file ? api.uploadStrategy.uploadUrl : api.url, {
          method: 'POST',
          headers: file ? {} : { 'Content-Type': 'application/json', accept: 'text/event-stream', 'Accept-Language': 'en-GB', 'chatkit-frame-instance-id': 'standin' },
          body: form ?? JSON.stringify(body),
          signal: abort.signal,
        });
        if (!answer.ok || !answer.headers.get('content-type').startsWith('text/event-stream')) {
          const json = await answer.json();
          return tell(answer.ok ? { type: 'end', json } : { type: 'end', error: json.message, status: answer.status });
        }
        let rest = '';
        for (const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader(); ; ) {
          const { done, value } = await reader.read();
          if (done) return tell({ type: 'end' });
          const parts = (rest + value).split('\n\n');
          rest = parts.pop();
          for (const part of parts) if (part.startsWith('data: ')) tell({ type: 'event', event: JSON.parse(part.slice(6)) });
        }
      } catch (error) {
        tell({ type: 'end', error: error.name === 'AbortError' ? null : error.message });
      }
    }
  }
  customElements.define('openai-chatkit', OpenAIChatKit);
}

/** Runs in the frame. */
export function frame() {
  const tell = (message) => parent.postMessage(message, '*');
  const waiting = new Map();
  let started = false;
  let [log, thread, lastMessage, current] = [null, null, null, null];
  const attached = [];
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
    if (data.type === 'say') say(data.text);
    if (data.type === 'open') open(data.id);
    if (data.type === 'event') waiting.get(data.id)?.onEvent(data.event);
    if (data.type === 'end') waiting.get(data.id)?.onEnd(data);
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
    log ??= Object.assign(document.createElement('div'), { id: 'log' });
    document.body.append(log);
    const button = (label, handler) => (add('button', label).onclick = handler);
    button('Send', () => say(composer.value));
    button('Stop', () => tell({ type: 'stop', id: current }));
    button('Retry', () => turn({ type: 'threads.retry_after_item', params: { thread_id: thread, item_id: lastMessage } }));
    const file = Object.assign(add('input', ''), { type: 'file', onchange: () => upload(file.files[0]) });
    tell({ type: 'ready' });
    if (!started && !options.api.url) window.askForSecret();
    if (!started && options.initialThread) open(options.initialThread);
    started = true;
  }

  /** Has the page make a request; the answer is the end of it. */
  function ask(request, onEvent) {
    const id = (current = crypto.randomUUID());
    return new Promise((onEnd) => {
      waiting.set(id, { onEvent, onEnd });
      tell({ type: 'request', id, ...request });
    });
  }

  async function say(text) {
    const input = { content: [{ type: 'input_text', text }], attachments: attached.splice(0), inference_options: {} };
    await turn(thread ? { type: 'threads.add_user_message', params: { thread_id: thread, input } } : { type: 'threads.create', params: { input } });
  }

  async function turn(body) {
    let call = null;
    log.dataset.state = 'busy';
    tell({ type: 'fire', name: 'response.start' });
    const end = await ask({ body }, (event) => {
      if (event.type === 'thread.created') tell({ type: 'fire', name: 'thread.change', detail: { threadId: (thread = event.thread.id) } });
      if (event.type === 'error') end_(event.allow_retry ? 'failed, retry' : 'failed');
      if (/^thread\.item\.(added|done)$/.test(event.type)) draw(event.item);
      if (event.type === 'thread.item.done' && event.item.type === 'client_tool_call') call = event.item;
      if (event.update?.type === 'assistant_message.content_part.text_delta') document.getElementById(event.item_id).textContent += event.update.delta;
    });
    if (call && !end.error) {
      const { json: result } = await ask({ tool: { name: call.name, params: call.arguments } });
      return turn({ type: 'threads.add_client_tool_output', params: { thread_id: thread, result } });
    }
    if (end.error) tell({ type: 'error', message: end.error });
    if (log.dataset.state === 'busy') end_(end.error === undefined ? 'done' : end.error === null ? 'stopped' : 'refused');
    tell({ type: 'fire', name: 'response.end' });
  }

  async function open(id) {
    thread = id;
    const { json } = await ask({ body: { type: 'threads.get_by_id', params: { thread_id: id } } });
    log.replaceChildren();
    json.items.data.forEach(draw);
    end_('opened');
  }

  async function upload(file) {
    const { json } = await ask({ file });
    attached.push(json.id);
    end_(`uploaded ${json.name}`);
  }

  function end_(state) {
    log.dataset.state = state;
  }

  function draw(item) {
    if (item.type === 'user_message') lastMessage = item.id;
    const line = document.getElementById(item.id) ?? log.appendChild(Object.assign(document.createElement('p'), { id: item.id, className: item.type }));
    line.textContent = [...(item.content ?? []).map(({ text }) => text), ...(item.attachments ?? []).map(({ name }) => `[${name}]`)].join('');
  }
}

export const FRAME = `<!doctype html>
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
