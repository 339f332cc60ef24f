// What TypeScript makes of /openapi.json: a client that is generated from it tells requests, events and items apart.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import openapiTS, { astToString } from 'openapi-typescript';

import { startFresh } from './support/selfhosted.js';

const here = fileURLToPath(new URL('.', import.meta.url));

const USE = `
import type { components, paths } from './api';
type Schemas = components['schemas'];
type Body = paths['/api/chatkit']['post']['requestBody']['content']['application/json'];
type Answers = paths['/api/chatkit']['post']['responses'][200]['content'];

export const good: Body[] = [
  { type: 'threads.list', params: { limit: 9999, order: 'desc' } },
  { type: 'items.list', params: { thread_id: 'thr_1', after: 'msg_1' } },
  { type: 'threads.create', params: { input: { content: [{ type: 'input_text', text: 'Hello' }], attachments: [], inference_options: {} } } },
];
// @ts-expect-error there is no such request
export const unknown: Body = { type: 'threads.stop', params: {} };
// @ts-expect-error it names no thread
export const incomplete: Body = { type: 'items.list', params: { limit: 3 } };

export function text(event: Schemas['ChatEvent']): string | undefined {
  if (event.type === 'thread.item.updated' && event.update.type === 'assistant_message.content_part.text_delta') return event.update.delta;
  if (event.type === 'thread.item.done' && event.item.type === 'assistant_message') return event.item.content.map((part) => part.text).join('');
  // @ts-expect-error a thread has no text
  if (event.type === 'thread.created') return event.thread.text;
  return undefined;
}
export const data: Answers['text/event-stream']['data'] = '{}';
export const first = (answer: Answers['application/json']) => ('data' in answer ? answer.data[0]?.id : undefined);
export const name = (file: Schemas['Attachment']) => (file.type === 'image' ? file.preview_url : file.name);
`;

test('a client generated from the document knows each request, event and item by its type', async (t) => {
  const server = await startFresh(t, {});
  const document = await (await fetch(`${server.origin}/openapi.json`)).json();
  const folder = await mkdtemp(`${here}.openapi-`);
  t.after(() => rm(folder, { recursive: true }));
  await writeFile(`${folder}/api.d.ts`, astToString(await openapiTS(document)));
  await writeFile(`${folder}/use.ts`, USE);
  const options = { strict: true, noEmit: true, target: 'ES2022', module: 'ES2022', moduleResolution: 'bundler', types: [] };
  await writeFile(`${folder}/tsconfig.json`, JSON.stringify({ compilerOptions: options, files: ['use.ts'] }));
  const complaints = await new Promise((resolve) => {
    execFile(process.execPath, [`${here}node_modules/typescript/bin/tsc`, '-p', folder], (failure, stdout) => resolve(failure ? stdout : ''));
  });
  assert.equal(complaints, '');
});
