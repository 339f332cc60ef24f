// The sample page when all goes well: sign in, mint, load, refresh, sign out.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chatFrame, openPage, signIn, signInAs, stepIs } from './support/browser.js';
import { startCdn } from './support/cdn.js';
import { calls, openDev } from './support/dev.js';
import { JWT_SECRET, jwt } from './support/jwt.js';
import { startServe } from './support/server.js';

test('under dev the page signs in as ada by itself, and again after a reload', async (t) => {
  const page = await openDev(t);
  await stepIs(page, 'widget', 'ok');
  assert.equal(await page.locator('#who .detail').innerText(), 'Signed in as ada.');
  assert.ok(await page.evaluate(() => document.activeElement === document.body), 'nobody’s focus is moved');
  assert.equal(await page.getByLabel('Your name').inputValue(), 'ada');
  await page.reload();
  await stepIs(page, 'widget', 'ok');
  await signInAs(page, 'grace');
  await stepIs(page, 'widget', 'ok');
  await page.reload();
  await page.locator('#who .detail').getByText('Signed in as grace.').waitFor();
});

test('nothing has failed before anybody signed in', async (t) => {
  const cdn = Object.assign(await startCdn(t), { behaviour: 'missing' });
  const server = await startServe(t, { CHATKIT_CDN_BASE: cdn.origin, JWT_SECRET });
  let refused = false;
  const prepare = async (page) => page.on('response', (response) => (refused ||= response.url().startsWith(cdn.origin)));
  const page = await openPage(t, server.origin, { prepare });
  await page.waitForFunction(() => document.getElementById('widget').dataset.state === 'waiting' && document.querySelector('#widget .took').textContent === '');
  await page.getByLabel('Your token (JWT)').waitFor();
  await page.locator('#widget .detail').getByText('Needs a session.').waitFor();
  assert.ok(refused, 'the script was asked for');
  assert.equal(await page.locator('[data-state="failed"]').count(), 0);
  await page.getByLabel('Your token (JWT)').fill(jwt('ada', 300));
  await page.getByRole('button', { name: 'Continue', exact: true }).click();
  await stepIs(page, 'widget', 'failed');
});

test('signing in mints one session, and the widget gets exactly that one', async (t) => {
  const page = await openDev(t);
  await signIn(page);
  await stepIs(page, 'session', 'ok');
  await stepIs(page, 'widget', 'ok');
  const frame = await chatFrame(page);
  assert.deepEqual(calls(page), ['POST /dev/token', 'POST /api/chatkit/session']);
  assert.match(page.calls[1].headers.authorization, /^Bearer ey/);
  assert.match(await frame.evaluate(() => window.secret), /^ek_/);
  for (const id of ['who', 'session', 'widget']) assert.match(await page.locator(`#${id} .took`).innerText(), /^· \d+ ms$|^\d+ ms$/, `step ${id} shows how long it took`);
  assert.deepEqual(page.noise, [], 'neither the console nor the Content-Security-Policy complains');
});

test('the widget shows the greeting and the starter prompts of sample.js', async (t) => {
  const page = await openDev(t);
  await signIn(page);
  const frame = await chatFrame(page);
  assert.equal(await frame.locator('h1').innerText(), 'How can we help you today?');
  assert.deepEqual(await frame.locator('li').allInnerTexts(), ['What can you do?', 'Draft an e-mail', 'Give me an idea']);
});

test('a refresh carries the current secret and hands the widget a new one', async (t) => {
  const page = await openDev(t);
  await signIn(page);
  const frame = await chatFrame(page);
  const first = await frame.evaluate(() => window.secret);
  const { value: second } = await frame.evaluate(() => window.askForSecret());
  assert.match(second, /^ek_/);
  assert.notEqual(second, first);
  assert.deepEqual(calls(page).slice(2), ['POST /api/chatkit/refresh']);
  assert.deepEqual(page.calls[2].body, { currentClientSecret: first });
  assert.match(await page.locator('#session .detail').innerText(), /^Refreshed once/);
  await frame.evaluate(() => window.askForSecret());
  assert.deepEqual(page.calls[3].body, { currentClientSecret: second });
  assert.match(await page.locator('#session .detail').innerText(), /^Refreshed 2 times/);
});

test('a widget that asks anew without a secret gets a session of its own', async (t) => {
  const page = await openDev(t);
  await signIn(page);
  const frame = await chatFrame(page);
  const first = await frame.evaluate(() => window.secret);
  const { value: second } = await frame.evaluate(() => window.askForSecret(null));
  assert.notEqual(second, first);
  assert.deepEqual(calls(page).slice(2), ['POST /api/chatkit/session']);
});

test('the session counts down from the configured time to live to its end', async (t) => {
  const page = await openDev(t, { env: { CHATKIT_SESSION_TTL_SECONDS: '90' }, prepare: (page) => page.clock.install() });
  await signIn(page);
  await stepIs(page, 'widget', 'ok');
  const countdown = page.getByRole('timer');
  assert.match(await countdown.innerText(), /^1:(30|2\d) left$/);
  await page.clock.fastForward(60_000);
  await page.waitForFunction(() => /^0:(30|2\d) left$/.test(document.getElementById('countdown').textContent));
  await page.clock.fastForward(60_000);
  await page.waitForFunction(() => /has ended/.test(document.getElementById('countdown').textContent));
});

test('signing out ends the sessions at the server and takes the chat down', async (t) => {
  const page = await openDev(t);
  await signIn(page);
  await chatFrame(page);
  const answer = page.waitForResponse((response) => response.request().method() === 'DELETE');
  await page.getByRole('button', { name: 'Sign out' }).click();
  assert.equal((await answer).status(), 204);
  await page.getByText('Your sessions have ended').waitFor();
  assert.equal(await page.locator('openai-chatkit').count(), 0);
  assert.equal(await page.getByRole('timer').count(), 0);
  assert.ok(await page.getByLabel('Your name').evaluate((input) => input === document.activeElement), 'the focus is back where one signs in');
  await signIn(page, 'grace');
  await stepIs(page, 'widget', 'ok');
});

test('neither token nor secret reaches the text, the address or the storage', async (t) => {
  const page = await openDev(t);
  await signIn(page);
  const frame = await chatFrame(page);
  await frame.evaluate(() => window.askForSecret());
  const traces = await page.evaluate(() => [document.documentElement.outerHTML, location.href, JSON.stringify({ ...localStorage }), JSON.stringify({ ...sessionStorage }), document.cookie].join('\n'));
  assert.doesNotMatch(traces, /ek_|eyJ/);
  assert.deepEqual(await page.evaluate(() => ({ ...sessionStorage })), { 'chatkit-sample-name': 'ada' });
});

test('an expired token is renewed under dev, and the chat goes on', async (t) => {
  const page = await openDev(t);
  await signIn(page);
  const frame = await chatFrame(page);
  let refusals = 1;
  await page.route('**/api/chatkit/refresh', (route) =>
    refusals-- > 0 ? route.fulfill({ status: 401, json: { error: { code: 'expired_token', message: 'The token has expired.' }, message: 'The token has expired.' } }) : route.continue(),
  );
  const { value } = await frame.evaluate(() => window.askForSecret());
  assert.match(value, /^ek_/);
  assert.deepEqual(calls(page).slice(2), ['POST /api/chatkit/refresh', 'POST /dev/token', 'POST /api/chatkit/refresh']);
  await stepIs(page, 'session', 'ok');
});

test('without dev a pasted token signs in, and its field is emptied', async (t) => {
  const cdn = await startCdn(t);
  const server = await startServe(t, { CHATKIT_CDN_BASE: cdn.origin, JWT_SECRET });
  const page = await openPage(t, server.origin);
  await page.getByLabel('Your token (JWT)').fill(`Bearer ${jwt('adä', 300)}`);
  await page.getByRole('button', { name: 'Continue', exact: true }).click();
  await stepIs(page, 'session', 'ok');
  await stepIs(page, 'who', 'ok');
  await stepIs(page, 'widget', 'ok');
  assert.equal(await page.locator('#who .detail').innerText(), 'The server accepts your token. Its subject is adä.');
  assert.equal(await page.locator('#jwt').inputValue(), '');
  assert.deepEqual(page.noise, []);
});

test('where visitors are welcome, one button goes on without a token', async (t) => {
  const page = await openDev(t, { env: { AUTH_ANONYMOUS: 'on', CHATKIT_COOKIE_KEY: 'a-cookie-key-of-the-browser-tests-0123456789' } });
  await signIn(page);
  await page.getByRole('button', { name: 'Continue as a visitor' }).click();
  await page.locator('#who .detail').getByText('The server knows you by a cookie.').waitFor();
  await stepIs(page, 'widget', 'ok');
  assert.deepEqual(calls(page), ['POST /dev/token', 'POST /api/chatkit/session', 'POST /api/chatkit/session']);
  assert.equal(page.calls[2].headers.authorization, undefined);
});

test('through the proxy the widget loads without a single request from the browser to the CDN', async (t) => {
  const hosts = new Set();
  const prepare = (page) => page.on('request', (request) => hosts.add(new URL(request.url()).host));
  const page = await openDev(t, { env: { CHATKIT_ASSETS: 'proxy' }, prepare });
  await signIn(page);
  await stepIs(page, 'widget', 'ok');
  await chatFrame(page);
  assert.ok(page.cdn.scriptRequests >= 1, 'the server fetched it');
  assert.deepEqual([...hosts], [new URL(page.server.origin).host]);
  assert.deepEqual(page.noise, []);
});

test('the page shows the part of its script that is meant to be copied', async (t) => {
  const page = await openDev(t);
  await page.getByText('The code behind it').click();
  await page.waitForFunction(() => document.getElementById('source-code').textContent);
  const code = await page.locator('#source-code').textContent();
  assert.match(code, /greeting: 'How can we help you today\?'/);
  assert.match(code, /async getClientSecret\(current\)/);
  assert.doesNotMatch(code, /DEADLINE|──/);
});
