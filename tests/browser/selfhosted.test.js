// The page's text box on the real server under `dev`, with the sandbox's scripted model behind it.

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { DOT } from './support/backend.js';
import { failureOf, openPage, signIn } from './support/browser.js';
import { answer, attach, idle, say, startFresh } from './support/selfhosted.js';

const NOWHERE = 'http://127.0.0.1:9';

/** The page with its text box, no outside host in reach. */
async function openReal(t, { env, name = 'ada', ...settings } = {}) {
  const server = await startFresh(t, { CHATKIT_CDN_BASE: NOWHERE, ...env });
  const hosts = new Set();
  const prepare = (page) => page.on('request', (request) => hosts.add(new URL(request.url()).origin));
  const page = await openPage(t, server.origin, { prepare, ...settings });
  await signIn(page, name);
  return Object.assign(page, { server, hosts });
}

test('with no outside host the page says so, and chats', async (t) => {
  const page = await openReal(t);
  assert.match((await failureOf(page, 'widget')).cause, /chatkit\.js did not load/);
  await say(page, 'Hello from Oslo');
  assert.match(await answer(page), /Hello from Oslo/, 'the scripted model repeats what it was asked');
  await say(page, 'And from Bergen');
  assert.match(await answer(page), /And from Bergen/);
  assert.deepEqual(await page.locator('#log .user-message .words').allInnerTexts(), ['Hello from Oslo', 'And from Bergen']);
  assert.notEqual(await page.locator('#thread-title').innerText(), 'New chat');
  assert.deepEqual([...page.hosts].sort(), [NOWHERE, page.server.origin].sort());
});

test('a reload shows the thread, and it goes on', async (t) => {
  const page = await openReal(t);
  await say(page, 'Remember this');
  const before = await answer(page);
  await page.reload();
  await signIn(page);
  await page.locator('#log .user-message').getByText('Remember this').waitFor();
  assert.equal(await answer(page), before);
  await say(page, 'One more');
  assert.match(await answer(page), /One more/);
  assert.equal(await page.locator('#thread-list li').count(), 1);
});

test('Stop ends a long answer, what was said so far is kept, and the thread goes on', async (t) => {
  const page = await openReal(t);
  await say(page, 'a long story');
  const words = page.locator('#log .assistant-message .words');
  await page.waitForFunction(() => document.querySelector('#log .assistant-message .words')?.textContent.length > 60);
  await page.getByRole('button', { name: 'Stop' }).click();
  await idle(page);
  const kept = await words.innerText();
  await page.reload();
  await signIn(page);
  await words.waitFor();
  const stored = await words.innerText();
  assert.ok(stored.startsWith(kept.slice(0, 60)), `${stored} begins as ${kept}`);
  assert.ok(stored.split(/\s+/).length < 300, 'the model was stopped');
  await say(page, 'Now a short one');
  assert.match(await answer(page), /Now a short one/);
});

test('an answer that fails offers Retry, which answers the same message, and the thread goes on', async (t) => {
  const page = await openReal(t);
  await say(page, 'please fail');
  const retry = page.getByRole('button', { name: 'Retry' });
  await retry.waitFor();
  const again = page.waitForRequest((request) => request.postData()?.includes('threads.retry_after_item'));
  await retry.click();
  await again;
  await retry.waitFor();
  await idle(page);
  assert.equal(await page.locator('#log .user-message').count(), 1);
  await say(page, 'Something else');
  assert.match(await answer(page), /Something else/);
});

test('an image is sent, shown by its preview, and still there after a reload', async (t) => {
  const page = await openReal(t);
  await attach(page, { name: 'dot.png', mimeType: 'image/png', buffer: Buffer.from(DOT.split(',')[1], 'base64') });
  await page.getByRole('button', { name: 'Remove dot.png' }).waitFor();
  await say(page, 'What is in this picture?');
  await answer(page);
  const isShown = () => page.waitForFunction(() => document.querySelector('#log .user-message img[alt="dot.png"]')?.naturalWidth === 1);
  await isShown();
  await page.reload();
  await signIn(page);
  await isShown();
});

test('a client tool is answered by the page, and the model hears it', async (t) => {
  const agents = `
    [agents.default]
    model = "gpt-sandbox"
    [[agents.default.tools]]
    type = "client"
    name = "get_selection"
    description = "What is selected on the page"
    parameters = { type = "object", properties = { project = { type = "string" } }, required = ["project"], additionalProperties = false }
  `;
  const server = await startFresh(t, { CHATKIT_CDN_BASE: NOWHERE }).then(async ({ folder, stop }) => {
    await stop();
    await writeFile(`${folder}/agents.toml`, agents);
    return startFresh(t, { CHATKIT_CDN_BASE: NOWHERE, CHATKIT_AGENTS: `${folder}/agents.toml` });
  });
  const page = await openPage(t, server.origin);
  await signIn(page);
  await say(page, 'use the tool');
  assert.match(await answer(page), /does it work\?/, 'the title of the page, which the tool gave');
  assert.match(await page.locator('#log .client-tool-call summary').innerText(), /get_selection/);
});

test('thoughts, searches and citations are shown', async (t) => {
  const page = await openReal(t);
  await say(page, 'think, search and cite');
  await answer(page);
  assert.ok(await page.locator('#log .workflow').count());
  assert.ok(await page.locator('#log .sources a[href^="http"]').count());
});

test('another user sees none of it', async (t) => {
  const page = await openReal(t);
  await say(page, 'A secret of Ada’s');
  await answer(page);
  const thread = await page.evaluate(() => sessionStorage.getItem('chatkit-sample-thread'));
  const other = await openPage(t, page.server.origin, { prepare: (other) => other.addInitScript((id) => sessionStorage.setItem('chatkit-sample-thread', id), thread) });
  await signIn(other, 'mallory');
  await other.getByText('Earlier chats').click();
  await other.getByText('There are none yet.').waitFor();
  assert.equal(await other.locator('#log').innerText(), '');
  assert.equal(await other.locator('#thread-title').innerText(), 'New chat');
});

test('a session that was revoked costs one refresh, and nobody notices', async (t) => {
  const page = await openReal(t);
  await say(page, 'first');
  await answer(page);
  await page.evaluate(async () => {
    const { token } = await (await fetch('/dev/token', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{"user":"ada"}' })).json();
    await fetch('/api/chatkit/session', { method: 'DELETE', headers: { Authorization: `Bearer ${token}` } });
  });
  await say(page, 'second');
  assert.match(await answer(page), /second/);
  assert.match(await page.locator('#session .detail').innerText(), /^Refreshed once/);
});

test('a chat is deleted for good', async (t) => {
  const page = await openReal(t);
  await say(page, 'soon gone');
  await answer(page);
  page.once('dialog', (dialog) => dialog.accept());
  await page.getByRole('button', { name: 'Delete' }).click();
  await page.locator('#thread-title').getByText('New chat').waitFor();
  await page.reload();
  await signIn(page);
  await page.getByText('Earlier chats').click();
  await page.getByText('There are none yet.').waitFor();
});

test('neither token nor secret reaches the text, the address or the storage', async (t) => {
  const page = await openReal(t);
  await say(page, 'hello');
  await answer(page);
  const traces = await page.evaluate(() => [document.documentElement.outerHTML, location.href, JSON.stringify({ ...localStorage }), JSON.stringify({ ...sessionStorage }), document.cookie].join('\n'));
  assert.doesNotMatch(traces, /eyJ/);
  assert.deepEqual(Object.keys(await page.evaluate(() => ({ ...sessionStorage }))).sort(), ['chatkit-sample-name', 'chatkit-sample-thread']);
});
