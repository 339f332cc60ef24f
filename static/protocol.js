// @ts-check
// The ChatKit protocol as a page speaks it: requests, the stream of events, and what the events make of the items.

/** @typedef {{ id: string, type: string, [field: string]: any }} Item */
/** @typedef {{ id: string, title?: string, created_at: string, status?: { type: string, reason?: string }, items: Page }} Thread */
/** @typedef {{ data: any[], has_more: boolean, after?: string }} Page */
/** @typedef {{ type: string, [field: string]: any }} Event */
/** @typedef {ReturnType<typeof chatClient>} Client */

/** The server refused a request, before anything of it was done. */
export class Refusal extends Error {
  /** @param {number} status @param {any} body */
  constructor(status, body) {
    super(body?.message ?? body?.error?.message ?? `The server answered ${status}.`);
    this.status = status;
  }
}

/** Speaks the protocol at `url`.
 * @param {{ url: string, fetch?: typeof globalThis.fetch, uploadUrl?: string }} api */
export function chatClient({ url, fetch = (input, init) => globalThis.fetch(input, init), uploadUrl }) {
  /** @param {string} target @param {RequestInit} init */
  async function post(target, init) {
    const answer = await fetch(target, { method: 'POST', ...init });
    if (!answer.ok) throw new Refusal(answer.status, await answer.json().catch(() => null));
    return answer;
  }
  /** @param {string} type @param {object} params @param {AbortSignal} [signal] @param {string} [accept] */
  const call = (type, params, signal, accept = 'application/json') =>
    post(url, { headers: { 'Content-Type': 'application/json', accept }, body: JSON.stringify({ type, params }), signal });

  return {
    canUpload: !!uploadUrl,

    /** Asks for JSON. @param {string} type @param {object} params @param {AbortSignal} [signal] @returns {Promise<any>} */
    ask: async (type, params, signal) => (await call(type, params, signal)).json(),

    /** Asks for events. Leaving the loop early, or aborting, ends the request.
     * @param {string} type @param {object} params @param {AbortSignal} [signal] @returns {AsyncGenerator<Event>} */
    async *stream(type, params, signal) {
      const answer = await call(type, params, signal, 'text/event-stream');
      if (!answer.body || !/^text\/event-stream\b/.test(answer.headers.get('content-type') ?? '')) throw new Error('The answer is no stream of events.');
      for await (const data of frames(answer.body)) yield JSON.parse(data);
    },

    /** Sends a file; the answer is the attachment. @param {File} file @param {AbortSignal} [signal] @returns {Promise<any>} */
    async upload(file, signal) {
      const body = new FormData();
      body.append('file', file);
      return (await post(uploadUrl ?? '', { body, signal })).json();
    },
  };
}

/** The `data` of each event of a `text/event-stream`, wherever the network cut it. Comments and other fields are
 * passed over; an event that the end of the stream cuts off is dropped (HTML Standard, section 9.2.6).
 * @param {ReadableStream<Uint8Array>} body @returns {AsyncGenerator<string>} */
export async function* frames(body) {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = '';
  /** @type {string[]} */ let data = [];
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      rest += decoder.decode(value, { stream: true });
      const lines = rest.split(/\r\n|\n|\r(?!$)/); // a CR at the end may be half of a CRLF
      rest = lines.pop() ?? '';
      for (const line of lines) {
        if (/^data(:|$)/.test(line)) data.push(line.replace(/^data:? ?/, ''));
        if (line || !data.length) continue;
        yield data.join('\n');
        data = [];
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** Applies an event to the items of a thread, in their order.
 * @param {Map<string, Item>} items @param {Event} event @returns {string | undefined} the id of the item that changed */
export function apply(items, event) {
  switch (event.type) {
    case 'thread.item.added':
    case 'thread.item.done':
    case 'thread.item.replaced':
      items.set(event.item.id, event.item);
      return event.item.id;
    case 'thread.item.removed':
      items.delete(event.item_id);
      return event.item_id;
    case 'thread.item.updated': {
      const item = items.get(event.item_id);
      if (item) update(item, event.update);
      return item?.id;
    }
  }
}

/** @param {Item} item @param {any} update */
function update(item, update) {
  /** @returns {{ text: string, annotations: any[] }} */
  const part = () => (item.content[update.content_index] ??= { type: 'output_text', text: '', annotations: [] });
  switch (update.type) {
    case 'assistant_message.content_part.added':
      item.content[update.content_index] = update.content;
      break;
    case 'assistant_message.content_part.text_delta':
      part().text += update.delta;
      break;
    case 'assistant_message.content_part.annotation_added':
      part().annotations[update.annotation_index] = update.annotation;
      break;
    case 'assistant_message.content_part.done':
      part().text = update.content.text; // its annotations are those of the updates before
      break;
    case 'workflow.task.added':
    case 'workflow.task.updated':
      item.workflow.tasks[update.task_index] = update.task;
      break;
    case 'generated_image.updated':
      item.image = update.image;
      break;
    case 'widget.root.updated':
      item.widget = update.widget;
      break;
  }
}
