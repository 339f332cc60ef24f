// The README's snippets, run as they stand there but for the addresses and the credential.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { test } from 'node:test';

import { openPage } from './support/browser.js';
import { startCdn } from './support/cdn.js';
import { BINARY, startDev, startServe } from './support/server.js';

const readme = await readFile(new URL('../../README.md', import.meta.url), 'utf8');

/** The first code block of the README that holds this text. */
function snippet(text) {
  const blocks = [...readme.matchAll(/```\w*\n([\s\S]*?)```/g)].map(([, code]) => code);
  const found = blocks.find((code) => code.includes(text));
  assert.ok(found, `the README has a snippet with ${text}`);
  return found;
}

/** A page on an origin of its own, whose text is set once the origin is known. */
async function otherSite(t) {
  const site = { html: '', origin: '' };
  const server = createServer((_, response) => response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end(site.html));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  site.origin = `http://127.0.0.1:${server.address().port}`;
  return site;
}

test('the plain web component of the README gets its session from another origin and loads', async (t) => {
  const cdn = await startCdn(t);
  const site = await otherSite(t);
  const server = await startDev(t, { CORS_ALLOWED_ORIGINS: site.origin });
  const answer = await fetch(`${server.origin}/dev/token`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"user":"ada"}' });
  const { token } = await answer.json();
  site.html = snippet('<openai-chatkit')
    .replaceAll('https://cdn.platform.openai.com', cdn.origin)
    .replaceAll('https://chat.example.com', server.origin)
    .replace('the JWT that your site gave this user', token);
  const page = await openPage(t, 'about:blank');
  const minted = page.waitForResponse((response) => new URL(response.url()).pathname === '/api/chatkit/session' && response.request().method() === 'POST');
  await page.goto(site.origin);
  assert.equal((await minted).status(), 200);
  await page.waitForSelector('openai-chatkit[data-loaded="true"]');
  assert.deepEqual(page.noise, []);
});

test('the server of the README mints for the user that it names', async (t) => {
  const printed = execFileSync(BINARY, ['service-token', '--id', 'shop'], { encoding: 'utf8' });
  const [token] = /cks_\S+/.exec(printed);
  const [entry] = /shop:[0-9a-f]{64}/.exec(printed);
  const server = await startServe(t, { SERVICE_TOKENS: entry });
  const routes = {};
  const app = { post: (path, _, handler) => (routes[path] = handler) };
  const code = snippet('app.post(').replaceAll('https://chat.example.com', server.origin);
  new Function('app', 'requireLogin', 'process', code)(app, () => {}, { env: { CHATKIT_SERVICE_TOKEN: token } });
  const res = { status: (code) => Object.assign(res, { code }), json: (body) => Object.assign(res, { body }) };
  await routes['/chat-secret']({ user: { id: 'ada' } }, res);
  assert.equal(res.code, 200);
  assert.match(res.body.client_secret, /^ek_/);
});
