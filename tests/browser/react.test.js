// @openai/chatkit-react with a self-hosted server: the wrapper is the real one, the element behind it a stand-in that
// makes its requests with the options that the wrapper hands it.

import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { DOT } from './support/backend.js';
import { openPage } from './support/browser.js';
import { startCdn } from './support/cdn.js';
import { startFresh } from './support/selfhosted.js';

let site;
before(async () => {
  site = await mkdtemp(join(tmpdir(), 'chatkit-react-'));
  await build({
    entryPoints: [fileURLToPath(new URL('./support/react-app.jsx', import.meta.url))],
    outfile: `${site}/app.js`,
    bundle: true,
    format: 'esm',
    jsx: 'automatic',
    define: { 'process.env.NODE_ENV': '"production"' },
    logLevel: 'error',
  });
  await writeFile(`${site}/index.html`, '<!doctype html><link rel="icon" href="data:,"><title>Chat</title><div id="root"></div><script type="module" src="app.js"></script>');
  await writeFile(`${site}/agents.toml`, `
    [agents.default]
    model = "gpt-sandbox"
    [[agents.default.tools]]
    type = "client"
    name = "get_selection"
    description = "What is selected on the page"
    parameters = { type = "object", properties = { project = { type = "string" } }, required = ["project"], additionalProperties = false }
  `);
});
after(() => rm(site, { recursive: true, force: true }));

/** The React site; `sessions` and `sent` are what it asked of the server. */
async function openSite(t, prepare = async () => {}) {
  const cdn = await startCdn(t);
  const server = await startFresh(t, { CHATKIT_CDN_BASE: cdn.origin, STATIC_DIR: site, CHATKIT_AGENTS: `${site}/agents.toml`, CHATKIT_SESSION_TTL_SECONDS: '120' });
  const sent = [];
  const page = await openPage(t, server.origin, {
    prepare: async (page) => {
      page.on('request', (request) => request.method() === 'POST' && sent.push({ path: new URL(request.url()).pathname, headers: request.headers(), body: request.postData() }));
      await prepare(page);
    },
  });
  const sessions = () => sent.filter(({ path }) => /\/(session|refresh)$/.test(path)).map(({ path }) => path.split('/').pop());
  return Object.assign(page, { chat: await frameOf(page), server, sent, sessions });
}

async function frameOf(page) {
  const handle = await page.locator('openai-chatkit[data-loaded] iframe').elementHandle();
  return handle.contentFrame();
}

const say = async (chat, text) => {
  await chat.getByPlaceholder('Write a message').fill(text);
  await chat.getByRole('button', { name: 'Send' }).click();
};
const ends = (chat, state) => chat.locator(`#log[data-state="${state}"]`).waitFor({ state: 'attached' });
const last = (chat) => chat.locator('.assistant_message').last().innerText();

test('it chats, with the headers of the widget and the secret of the page', async (t) => {
  const page = await openSite(t);
  await say(page.chat, 'Hello from React');
  await ends(page.chat, 'done');
  assert.match(await last(page.chat), /Hello from React/);
  const { headers } = page.sent.find(({ path }) => path === '/api/chatkit');
  assert.match(headers.authorization, /^Bearer ey/);
  assert.deepEqual([headers['chatkit-frame-instance-id'], headers['accept-language'], headers.accept], ['standin', 'en-GB', 'text/event-stream']);
  assert.deepEqual(page.sessions(), ['session']);
  await page.getByRole('button', { name: 'Ask from the page' }).click();
  await page.chat.locator('.user_message').getByText('sent by a button of the page').waitFor();
  await ends(page.chat, 'done');
  assert.match(await last(page.chat), /sent by a button of the page/);
  assert.equal(await page.title(), 'Chat', 'no error event');
  assert.deepEqual(page.noise, []);
});

test('the session is refreshed before its end, and once it was revoked', async (t) => {
  const page = await openSite(t, (page) => page.clock.install());
  await say(page.chat, 'first');
  await ends(page.chat, 'done');
  await page.clock.fastForward(100_000);
  await say(page.chat, 'second');
  await page.chat.locator('.user_message').getByText('second').waitFor();
  await ends(page.chat, 'done');
  assert.deepEqual(page.sessions(), ['session', 'refresh']);
  await page.evaluate(async () => {
    const { token } = await (await fetch('/dev/token', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{"user":"ada"}' })).json();
    await fetch('/api/chatkit/session', { method: 'DELETE', headers: { Authorization: `Bearer ${token}` } });
  });
  await say(page.chat, 'third');
  await page.chat.locator('.user_message').getByText('third').waitFor();
  await ends(page.chat, 'done');
  assert.deepEqual(page.sessions(), ['session', 'refresh', 'refresh']);
  assert.match(await last(page.chat), /third/);
});

test('it uploads a file and sends it with a message', async (t) => {
  const page = await openSite(t);
  await page.chat.locator('input[type=file]').setInputFiles({ name: 'dot.png', mimeType: 'image/png', buffer: Buffer.from(DOT.split(',')[1], 'base64') });
  await ends(page.chat, 'uploaded dot.png');
  await say(page.chat, 'What is this?');
  await page.chat.locator('.user_message').getByText('What is this?[dot.png]').waitFor();
  await ends(page.chat, 'done');
});

test('Stop aborts the request, and a reload shows what was said so far', async (t) => {
  const page = await openSite(t);
  await say(page.chat, 'a long story');
  await page.chat.waitForFunction(() => document.querySelector('.assistant_message')?.textContent.length > 60);
  await page.chat.getByRole('button', { name: 'Stop' }).click();
  await ends(page.chat, 'stopped');
  const kept = (await last(page.chat)).slice(0, 60);
  await page.reload();
  const chat = await frameOf(page);
  await chat.locator('.user_message').getByText('a long story').waitFor();
  assert.ok((await last(chat)).startsWith(kept));
  await say(chat, 'and on');
  await ends(chat, 'done');
  assert.match(await last(chat), /and on/);
});

test('a client tool of the page is asked, and the model hears the answer', async (t) => {
  const page = await openSite(t);
  await say(page.chat, 'use the tool');
  await ends(page.chat, 'done');
  assert.match(await last(page.chat), /n1/);
});

test('an answer that fails can be retried', async (t) => {
  const page = await openSite(t);
  await say(page.chat, 'please fail');
  await ends(page.chat, 'failed, retry');
  const again = page.waitForRequest((request) => request.postData()?.includes('threads.retry_after_item'));
  await page.chat.getByRole('button', { name: 'Retry' }).click();
  await again;
  await ends(page.chat, 'failed, retry');
});
