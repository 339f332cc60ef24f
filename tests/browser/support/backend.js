// A stand-in for the server's half of self-hosted mode: sessions and the ChatKit protocol, as little of them as a page sees.
//
// With `front` it passes everything else on to that server, so that the real page is in front of it. Each answer can be
// paced, cut or refused by the test. The words of a message choose the answer: `script` maps one to the events of a turn.

import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer, request as connect } from 'node:http';

/** A PNG of one dot. */
export const DOT = 'data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';
const STATIC = new URL('../../../static/', import.meta.url);
const page = (data, more = {}) => ({ data, has_more: false, ...more });

/** Starts it. The test may change `lifetime` (seconds), `refuseMint` (a status or a function), `refuse` (a status for
 * the protocol), `refusals` (a status and headers for each of the next requests), `script`, and look at `requests`, `minted`, `threads`. */
export async function startBackend(t, { front, script = {} } = {}) {
  const backend = {
    origin: '', front, script, lifetime: 600, clockSkew: 0, refuseMint: 0, refuse: 0, refusals: [], holdMint: null,
    requests: [], minted: 0, refreshed: 0, live: new Set(), threads: new Map(), attachments: new Map(), ids: 0, streams: 0,
  };
  const server = createServer((request, response) => answer(backend, request, response).catch((error) => response.destroy(error)));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  backend.origin = `http://127.0.0.1:${server.address().port}`;
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return backend;
}

async function answer(backend, request, response) {
  const { pathname } = new URL(request.url, backend.origin);
  const cors = { 'access-control-allow-origin': request.headers.origin ?? '*', 'access-control-allow-headers': 'authorization, content-type, x-mine', 'access-control-allow-methods': '*' };
  const reply = (status, body, headers = {}) => response.writeHead(status, { 'content-type': 'application/json', ...cors, ...headers }).end(typeof body === 'string' ? body : JSON.stringify(body));
  const fail = (status, code, headers) => reply(status, { error: { code, message: `Refused: ${code}.` }, message: `Refused: ${code}.` }, headers);
  if (request.method === 'OPTIONS') return reply(204, '');
  const isSession = /^\/api\/chatkit\/(session|refresh)$/.test(pathname) && request.method === 'POST';
  const isOver = pathname === '/api/chatkit/session' && request.method === 'DELETE';
  const isOurs = isSession || isOver || ['/api/chatkit', '/api/chatkit/config', '/api/chatkit/upload', '/api/chatkit/echo', '/api/chatkit/away'].includes(pathname);
  if (!isOurs) return backend.front ? pass(backend.front, request, response) : file(pathname, reply, response);

  if (pathname === '/api/chatkit/config') {
    const config = backend.front ? await (await fetch(`${backend.front}/api/chatkit/config`)).json() : {};
    return reply(200, { ...config, mode: 'self-hosted', api: { url: '/api/chatkit', domainKey: 'domain_pk_localhost_dev', uploadStrategy: { type: 'direct', uploadUrl: '/api/chatkit/upload' } } });
  }
  const body = Buffer.concat(await request.toArray());
  backend.requests.push({ method: request.method, path: pathname, headers: request.headers, body: body.toString() });
  const refusal = backend.refusals.shift();
  if (refusal) return fail(refusal.status, 'not_now', refusal.headers);
  if (isOver) {
    backend.live.clear();
    return response.writeHead(204).end();
  }
  if (isSession) {
    await backend.holdMint;
    const status = typeof backend.refuseMint === 'function' ? backend.refuseMint() : backend.refuseMint;
    if (status) return fail(status, 'no_session');
    const client_secret = `secret-${++backend.minted}`;
    if (pathname.endsWith('/refresh')) backend.refreshed += 1;
    backend.live.add(client_secret);
    const now = Date.now() + backend.clockSkew * 1000;
    return reply(200, { client_secret, expires_at: new Date(now + backend.lifetime * 1000).toISOString() }, { date: new Date(now).toUTCString() });
  }
  if (!backend.live.has(request.headers.authorization?.replace('Bearer ', ''))) return fail(401, 'expired_token');
  if (pathname === '/api/chatkit/echo') return reply(200, { headers: request.headers, body: body.toString() });
  if (pathname === '/api/chatkit/away') return reply(307, '', { location: backend.elsewhere });
  if (backend.refuse) return fail(backend.refuse, 'not_now');
  if (pathname === '/api/chatkit/upload') {
    const name = /filename="([^"]+)"/.exec(body.toString('latin1'))?.[1];
    const isImage = name.endsWith('.png');
    const attachment = { id: `atc_${++backend.ids}`, name, mime_type: isImage ? 'image/png' : 'text/plain', type: isImage ? 'image' : 'file', ...(isImage && { preview_url: DOT }) };
    backend.attachments.set(attachment.id, attachment);
    return reply(200, attachment);
  }
  const { type, params } = JSON.parse(body);
  if (!(type in OPERATIONS)) return fail(400, 'invalid_request');
  const result = OPERATIONS[type](backend, params);
  if (!result) return fail(404, 'not_found');
  if (!(Symbol.asyncIterator in result)) return reply(200, result);
  await stream(backend, result, request, response, cors);
}

/** Writes events as they come. An event may be `{ raw }` (bytes as they stand), `{ wait }` (a promise) or `{ cut: true }`. */
async function stream(backend, events, request, response, cors) {
  backend.streams += 1;
  response.writeHead(200, { 'content-type': 'text/event-stream', ...cors }).flushHeaders();
  response.on('close', () => (backend.streams -= 1));
  for await (const event of events) {
    if (response.destroyed) return;
    if (event.cut) return response.destroy();
    if (event.wait) await event.wait;
    else await new Promise((resolve) => response.write(event.raw ?? `data: ${JSON.stringify(event)}\n\n`, resolve));
  }
  response.end();
}

const OPERATIONS = {
  'threads.create': async function* (backend, { input }) {
    const thread = { id: `thr_${++backend.ids}`, created_at: new Date().toISOString(), status: { type: 'active' }, metadata: {}, list: [] };
    backend.threads.set(thread.id, thread);
    yield { type: 'thread.created', thread: shown(thread) };
    yield* say(backend, thread, input);
  },
  'threads.add_user_message': (backend, { thread_id: id, input }) => backend.threads.has(id) && say(backend, backend.threads.get(id), input),
  'threads.add_client_tool_output': (backend, { thread_id: id, result }) => {
    const thread = backend.threads.get(id);
    const call = thread?.list.at(-1);
    if (call?.status !== 'pending') return null;
    Object.assign(call, { status: 'completed', output: result });
    return (async function* () {
      yield { type: 'stream_options', stream_options: { allow_cancel: true } };
      yield* words(backend, thread, [`The tool said ${JSON.stringify(result)}.`]);
    })();
  },
  'threads.retry_after_item': (backend, { thread_id: id, item_id: item }) => {
    const thread = backend.threads.get(id);
    const at = thread?.list.findIndex((one) => one.id === item) ?? -1;
    if (at < 0) return null;
    thread.list.length = at + 1;
    return turn(backend, thread, thread.list[at], true);
  },
  'threads.list': (backend, { limit = 20, after }) => {
    const all = [...backend.threads.values()].reverse().map(shown);
    return paged(all, limit, after);
  },
  'threads.get_by_id': (backend, { thread_id: id }) => {
    const thread = backend.threads.get(id);
    return thread && { ...shown(thread), items: paged(thread.list, 20) };
  },
  'items.list': (backend, { thread_id: id, limit = 20, after }) => paged(backend.threads.get(id).list.toReversed(), limit, after),
  'threads.delete': (backend, { thread_id: id }) => backend.threads.delete(id) && {},
  'attachments.delete': (backend, { attachment_id: id }) => backend.attachments.delete(id) && {},
};

function paged(all, limit, after) {
  const rest = all.slice(after ? all.findIndex(({ id }) => id === after) + 1 : 0);
  const data = rest.slice(0, limit);
  return page(data, rest.length > limit ? { has_more: true, after: data.at(-1).id } : {});
}

const shown = ({ list: _, ...thread }) => ({ ...thread, items: page([]) });

export const item = (backend, thread, type, more) => ({ id: `${type}_${++backend.ids}`, thread_id: thread.id, created_at: new Date().toISOString(), type, ...more });

async function* say(backend, thread, input) {
  const attachments = input.attachments.map((id) => backend.attachments.get(id));
  const message = item(backend, thread, 'user_message', { ...input, attachments });
  thread.list.push(message);
  yield { type: 'thread.item.done', item: message };
  yield* turn(backend, thread, message, false);
}

async function* turn(backend, thread, message, isRetry) {
  yield { type: 'stream_options', stream_options: { allow_cancel: true } };
  const said = message.content.map(({ text }) => text).join('');
  const scripted = Object.entries(backend.script).find(([word]) => said.includes(word))?.[1];
  if (scripted) yield* scripted({ backend, thread, message, isRetry });
  else yield* words(backend, thread, ['You said: ', said]);
  if (thread.title) return;
  thread.title = said.slice(0, 20);
  yield { type: 'thread.updated', thread: shown(thread) };
}

/** An assistant message that comes in these deltas; a promise among them is waited for. */
export async function* words(backend, thread, deltas, annotations = []) {
  const message = item(backend, thread, 'assistant_message', { content: [] });
  const update = (type, more) => ({ type: 'thread.item.updated', item_id: message.id, update: { type: `assistant_message.content_part.${type}`, content_index: 0, ...more } });
  yield { type: 'thread.item.added', item: message };
  yield update('added', { content: { type: 'output_text', text: '', annotations: [] } });
  for (const delta of deltas) yield typeof delta === 'string' ? update('text_delta', { delta }) : { wait: delta };
  for (const [annotation_index, annotation] of annotations.entries()) yield update('annotation_added', { annotation_index, annotation });
  const text = deltas.filter((delta) => typeof delta === 'string').join('');
  yield update('done', { content: { type: 'output_text', text, annotations: [] } });
  const done = { ...message, content: [{ type: 'output_text', text, annotations }] };
  thread.list.push(done);
  yield { type: 'thread.item.done', item: done };
}

/** Passes a request on to the server behind. */
function pass(front, request, response) {
  const { host: _, origin: __, ...headers } = request.headers;
  const onward = connect(`${front}${request.url}`, { method: request.method, headers }, (answer) => {
    response.writeHead(answer.statusCode, answer.headers);
    answer.pipe(response);
  });
  onward.on('error', () => response.destroy());
  request.pipe(onward);
}

/** Serves the scripts, and an empty page at the root. */
async function file(path, reply, response) {
  if (path === '/') return response.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html><link rel="icon" href="data:,"><title>Empty</title>');
  const text = await readFile(new URL(path.slice(1), STATIC), 'utf8').catch(() => null);
  return text === null ? reply(404, {}) : response.writeHead(200, { 'content-type': 'text/javascript' }).end(text);
}
