// @ts-check
// A plain text box that chats over the ChatKit protocol: what one has where OpenAI's widget can't be loaded.

import { make, showItem } from './items.js';
import { apply } from './protocol.js';
import { byId } from './steps.js';

/** @typedef {import('./protocol.js').Client} Client */
/** @typedef {import('./protocol.js').Item} Item */
/** @typedef {import('./protocol.js').Page} Page */
/** @typedef {import('./protocol.js').Thread} Thread */
/** @typedef {(call: { name: string, params: Record<string, unknown> }) => any} ClientTool */
/** A request that streams. @typedef {{ type: string, params: any }} Send */

/** Where the open thread outlives a reload: its id alone. */
const OPEN_THREAD = 'chatkit-sample-thread';
const PAGE = 50;

/** Puts the text box to work for whoever is signed in. The result takes it down again.
 * @param {Client} client @param {ClientTool} onClientTool @returns {() => void} */
export function startTextBox(client, onClientTool) {
  /** Ends all that goes on when the box is taken down. */
  const gone = new AbortController();
  const on = (/** @type {string} */ id, /** @type {string} */ event, /** @type {(event: any) => unknown} */ handler) =>
    byId(id).addEventListener(event, handler, { signal: gone.signal });

  /** @type {Thread | null} */ let thread = null;
  /** @type {Map<string, Item>} */ const items = new Map();
  /** @type {Map<string, HTMLElement>} */ const elements = new Map();
  /** @type {Set<string>} */ const changed = new Set();
  /** Files to send with the next message; null while on their way. @type {Map<File, any>} */ const files = new Map();
  /** @type {AbortController | null} */ let running = null;
  let frame = 0;
  /** Whether the end of the log is in view, and stays so as it grows. */
  let isFollowing = true;

  // ── The conversation ───────────────────────────────────────────────────────────────────────────────────

  /** Draws what has changed, at most once a frame however fast the events come. @param {string} [id] */
  function touch(id) {
    if (id) changed.add(id);
    frame ||= requestAnimationFrame(draw);
  }

  function draw() {
    cancelAnimationFrame(frame);
    frame = 0;
    const log = byId('log');
    for (const id of changed) {
      const item = items.get(id);
      /** @type {HTMLElement} */ const element = elements.get(id) ?? make('article', '');
      elements.set(id, element);
      if (!item || !showItem(element, item)) element.remove();
      else if (!element.isConnected) log.append(element);
    }
    changed.clear();
    follow();
  }

  function follow() {
    if (isFollowing) byId('log').scrollTop = byId('log').scrollHeight;
  }

  on('log', 'scroll', () => {
    const log = byId('log');
    isFollowing = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  });
  // An image has its height when it is there. Its event does not bubble.
  byId('log').addEventListener('load', follow, { capture: true, signal: gone.signal });

  function clear() {
    running?.abort();
    running = null;
    thread = null;
    items.clear();
    elements.clear();
    changed.clear();
    isFollowing = true;
    byId('log').replaceChildren();
    byId('earlier').hidden = true;
    byId('trouble').hidden = true;
    tell('');
    showThread();
    showBusy(false);
  }

  function showThread() {
    const { status } = thread ?? {};
    const isOpen = (status?.type ?? 'active') === 'active';
    byId('thread-title').textContent = thread ? thread.title ?? 'Untitled chat' : 'New chat';
    byId('delete-thread').hidden = !thread;
    byId('composer').disabled = !isOpen;
    if (!isOpen) tell(status?.reason ?? `This chat is ${status?.type}.`);
    if (thread) sessionStorage.setItem(OPEN_THREAD, thread.id);
    else sessionStorage.removeItem(OPEN_THREAD);
    for (const button of byId('thread-list').querySelectorAll('button')) {
      const isThis = button.dataset.thread === thread?.id;
      button.setAttribute('aria-current', String(isThis));
      if (isThis) button.firstChild.textContent = thread?.title ?? 'Untitled chat';
    }
  }

  /** What goes on, in a line of its own. @param {string} words */
  const tell = (words) => (byId('progress').textContent = words);

  /** @param {string} words @param {(() => void) | null} retry */
  function complain(words, retry) {
    byId('trouble').hidden = false;
    byId('trouble-words').textContent = words;
    byId('retry').hidden = !retry;
    byId('retry').onclick = retry;
  }

  // ── Turns ──────────────────────────────────────────────────────────────────────────────────────────────

  /** Sends, shows what comes, and answers client tools until the turn is over. Says whether the server took it.
   * @param {Send} send */
  async function turn(send) {
    const mine = (running = new AbortController());
    byId('trouble').hidden = true;
    showBusy(true);
    let isTaken = false;
    try {
      for (let next = send; ; ) {
        /** @type {Item | null} */ let call = null;
        tell('Waiting for the answer.');
        for await (const event of client.stream(next.type, next.params, mine.signal)) {
          isTaken = true;
          hear(event);
          if (event.type === 'thread.item.done' && event.item.type === 'client_tool_call' && event.item.status === 'pending') call = event.item;
        }
        if (!call) break;
        next = { type: 'threads.add_client_tool_output', params: { thread_id: thread?.id, result: await answerTool(call) } };
        if (mine.signal.aborted) return true;
      }
    } catch (failure) {
      if (mine.signal.aborted) return true;
      complain(reason(failure), isTaken || send.type === 'threads.retry_after_item' ? retry : null);
    } finally {
      if (mine === running) {
        running = null;
        tell('');
        showThread(); // a thread that is closed says so
        showBusy(false);
      }
    }
    return isTaken;
  }

  /** @param {import('./protocol.js').Event} event */
  function hear(event) {
    if (event.type === 'thread.created' || event.type === 'thread.updated') {
      thread = event.thread;
      showThread();
      if (event.type === 'thread.created') listThreads();
    } else if (event.type === 'stream_options') {
      byId('stop').hidden = !event.stream_options.allow_cancel;
    } else if (event.type === 'progress_update') {
      tell(event.text);
    } else if (event.type === 'notice') {
      byId('log').append(make('p', 'notice', [event.title, event.message].filter(Boolean).join(': ')));
    } else if (event.type === 'error') {
      complain(event.message ?? 'The answer failed.', event.allow_retry ? retry : null);
    } else {
      const id = apply(items, event);
      if (id && event.type !== 'thread.item.done') tell('');
      if (id) touch(id);
    }
  }

  /** Runs a client tool. What goes wrong is its output: the model must hear of it. @param {Item} call */
  async function answerTool(call) {
    try {
      const output = await onClientTool({ name: call.name, params: call.arguments });
      items.set(call.id, { ...call, status: 'completed', output });
      touch(call.id);
      return output;
    } catch (failure) {
      return { error: String(failure) };
    }
  }

  /** Answers the last message anew: what came after it goes. */
  function retry() {
    const last = [...items.values()].findLast(({ type }) => type === 'user_message');
    if (!last || !thread) return;
    const ids = [...items.keys()];
    for (const id of ids.slice(ids.indexOf(last.id) + 1)) {
      items.delete(id);
      touch(id);
    }
    byId('message').focus(); // the button goes away
    return turn({ type: 'threads.retry_after_item', params: { thread_id: thread.id, item_id: last.id } });
  }

  /** @param {boolean} isBusy */
  function showBusy(isBusy) {
    byId('log').setAttribute('aria-busy', String(isBusy));
    byId('send').disabled = isBusy;
    if (!isBusy && document.activeElement === byId('stop')) byId('message').focus();
    byId('stop').hidden = !isBusy;
    draw();
  }

  // ── Writing ────────────────────────────────────────────────────────────────────────────────────────────

  on('say', 'submit', async () => {
    const words = byId('message').value;
    if (running || !(words.trim() || files.size)) return;
    if ([...files.values()].includes(null)) return tell('A file is still on its way.');
    const content = words.trim() ? [{ type: 'input_text', text: words }] : [];
    const input = { content, attachments: [...files.values()].map(({ id }) => id), inference_options: {} };
    const sent = [...files];
    byId('message').value = '';
    files.clear();
    showFiles();
    isFollowing = true;
    follow();
    const isTaken = await turn(thread ? { type: 'threads.add_user_message', params: { thread_id: thread.id, input } } : { type: 'threads.create', params: { input } });
    if (isTaken || gone.signal.aborted) return;
    byId('message').value ||= words; // nothing was done with it: it can be sent again
    for (const [file, attachment] of sent) files.set(file, attachment);
    showFiles();
  });
  on('message', 'keydown', (/** @type {KeyboardEvent} */ event) => {
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    byId('send').click();
  });
  on('stop', 'click', () => running?.abort());

  on('attach', 'click', () => byId('file').click());
  on('file', 'change', () => {
    for (const file of byId('file').files) attach(file);
    byId('file').value = '';
  });

  /** @param {File} file */
  async function attach(file) {
    files.set(file, null);
    showFiles();
    try {
      const attachment = await client.upload(file, gone.signal);
      if (files.has(file)) files.set(file, attachment);
      if (!running) tell('');
    } catch (failure) {
      files.delete(file);
      if (!gone.signal.aborted) complain(`${file.name} was not sent. ${reason(failure)}`, null);
    }
    showFiles();
  }

  function showFiles() {
    byId('files').replaceChildren(...[...files].map(([file, attachment]) => {
      const remove = make('button', 'quiet', 'Remove', make('span', 'unseen', ` ${file.name}`));
      remove.type = 'button';
      remove.addEventListener('click', () => {
        files.delete(file);
        showFiles();
        byId('attach').focus();
        client.ask('attachments.delete', { attachment_id: attachment.id }).catch(() => {}); // it is swept in a day anyway
      });
      return make('li', '', attachment ? file.name : `Sending ${file.name}`, attachment && remove);
    }));
  }

  // ── Threads ────────────────────────────────────────────────────────────────────────────────────────────

  /** Lists the threads, from the newest, or goes on after one. @param {string} [after] */
  async function listThreads(after) {
    /** @type {Page} */ let page;
    try {
      page = await client.ask('threads.list', { limit: 20, order: 'desc', ...(after && { after }) }, gone.signal);
    } catch (failure) {
      return gone.signal.aborted || complain(`The earlier chats can’t be listed. ${reason(failure)}`, null);
    }
    const entries = page.data.map((/** @type {Thread} */ { id, title, created_at: created }) => {
      const button = make('button', 'quiet', make('span', '', title ?? 'Untitled chat'), make('small', '', ` ${new Date(created).toLocaleString()}`));
      Object.assign(button, { type: 'button' }).dataset.thread = id;
      button.addEventListener('click', () => open(id));
      return make('li', '', button);
    });
    if (after) byId('thread-list').append(...entries);
    else byId('thread-list').replaceChildren(...entries);
    byId('no-threads').hidden = byId('thread-list').childElementCount > 0;
    byId('more-threads').hidden = !page.has_more;
    byId('more-threads').onclick = () => listThreads(page.after);
    showThread();
  }

  /** Opens a thread at its end. @param {string} id */
  async function open(id, isAsked = true) {
    clear();
    const wanted = (running = new AbortController());
    try {
      const found = await client.ask('threads.get_by_id', { thread_id: id }, wanted.signal);
      const { items: first } = found;
      // get_by_id has the oldest items: where there are more, the newest are what one wants to see.
      const page = first.has_more ? await client.ask('items.list', { thread_id: id, limit: PAGE, order: 'desc' }, wanted.signal) : { ...first, data: first.data.toReversed() };
      if (wanted !== running) return;
      thread = found;
      showThread();
      showOlder(id, page);
      byId('log').scrollTop = byId('log').scrollHeight;
      byId('threads').open = false;
      if (isAsked) byId('message').focus();
    } catch (failure) {
      if (wanted !== running || gone.signal.aborted) return;
      sessionStorage.removeItem(OPEN_THREAD);
      if (isAsked) complain(`The chat can’t be opened. ${reason(failure)}`, null);
    } finally {
      if (wanted === running) running = null;
    }
  }

  /** Puts a page of older items, from the newest, before those that are shown. @param {string} id @param {Page} page */
  function showOlder(id, page) {
    const newer = [...items];
    items.clear();
    for (const item of page.data.toReversed()) items.set(item.id, item);
    for (const [key, item] of newer) items.set(key, item);
    const log = byId('log');
    const fromEnd = log.scrollHeight - log.scrollTop;
    for (const item of page.data) {
      const element = make('article', '');
      elements.set(item.id, element);
      if (showItem(element, item)) log.prepend(element);
    }
    log.scrollTop = log.scrollHeight - fromEnd; // what one reads stays where it is
    byId('earlier').hidden = !page.has_more;
    byId('earlier').onclick = async () => {
      try {
        const older = await client.ask('items.list', { thread_id: id, limit: PAGE, order: 'desc', after: page.after }, gone.signal);
        if (thread?.id === id) showOlder(id, older);
      } catch (failure) {
        if (!gone.signal.aborted) complain(`Earlier messages can’t be loaded. ${reason(failure)}`, null);
      }
    };
  }

  on('new-thread', 'click', () => {
    clear();
    byId('message').focus();
  });
  on('delete-thread', 'click', async () => {
    const id = thread?.id;
    if (!id || !confirm(`Delete “${byId('thread-title').textContent}” for good?`)) return;
    try {
      await client.ask('threads.delete', { thread_id: id }, gone.signal);
      clear();
      byId('message').focus();
      listThreads();
    } catch (failure) {
      if (!gone.signal.aborted) complain(`The chat was not deleted. ${reason(failure)}`, null);
    }
  });

  const last = sessionStorage.getItem(OPEN_THREAD);
  clear();
  showFiles();
  byId('attach').hidden = !client.canUpload;
  listThreads();
  if (last) open(last, false);

  return () => {
    gone.abort();
    clear();
    byId('thread-list').replaceChildren();
  };
}

/** @param {unknown} failure */
const reason = (failure) => (failure instanceof Error ? failure.message : String(failure));
