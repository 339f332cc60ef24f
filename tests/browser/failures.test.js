// Each failure is named on the page: the cause in words, the way out, the server's own words and its request id.
//
// The real server is made to fail where it can be; what it cannot be made to do, the browser's network layer answers.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chatFrame, failureOf, openPage, signIn, signInAs, stepIs } from './support/browser.js';
import { startCdn } from './support/cdn.js';
import { openDev } from './support/dev.js';
import { JWT_SECRET, jwt } from './support/jwt.js';
import { startServe } from './support/server.js';

const MINT_FAILURES = [
  { name: 'a workflow that OpenAI does not know', env: { CHATKIT_WORKFLOW_ID: 'wf_missing' }, answer: '502 upstream_rejected', cause: /OpenAI refused to start the session/, remedy: /different projects/ },
  { name: 'an API key that OpenAI refuses', env: { OPENAI_API_KEY: 'sk-revoked' }, answer: '502 upstream_auth_failed', cause: /OpenAI refused the server’s API key/, remedy: /OPENAI_API_KEY/ },
  { name: 'OpenAI being down', env: { CHATKIT_WORKFLOW_ID: 'wf_500', UPSTREAM_RETRIES: '0' }, answer: '503 upstream_unavailable', cause: /cannot reach OpenAI/, remedy: /^Wait \d+ seconds?, then try again\./ },
  { name: 'OpenAI limiting the server', env: { CHATKIT_WORKFLOW_ID: 'wf_429', UPSTREAM_RETRIES: '0' }, answer: '503 upstream_rate_limited', cause: /asks too often/, remedy: /^Wait \d+ seconds?, then try again\./ },
  { name: 'an account without quota', env: { CHATKIT_WORKFLOW_ID: 'wf_quota' }, answer: '502 upstream_quota_exhausted', cause: /no quota left/, remedy: /Billing/ },
  { name: 'an answer of OpenAI that makes no sense', env: { CHATKIT_WORKFLOW_ID: 'wf_garbage' }, answer: '502 upstream_invalid_response', cause: /made no sense/, remedy: /CHATKIT_API_BASE/ },
  { name: 'OpenAI not answering in time', env: { CHATKIT_WORKFLOW_ID: 'wf_slow', UPSTREAM_TIMEOUT_SECONDS: '1' }, answer: '504 upstream_timeout', cause: /did not answer in time/, remedy: /UPSTREAM_TIMEOUT_SECONDS/ },
];
for (const { name, env, answer, cause, remedy } of MINT_FAILURES) {
  test(`the page names ${name}`, async (t) => {
    const page = await openDev(t, { env });
    await signIn(page);
    const failure = await failureOf(page, 'session');
    assert.match(failure.cause, cause);
    assert.match(failure.remedy, remedy);
    assert.equal(failure.answer, answer);
    assert.match(failure.says, /^The server says: “.+”$/);
    assert.match(failure.requestId, /^[\w.-]+$/);
    assert.match(await page.locator('#session .took').innerText(), /\d+ ms$/);
    assert.equal(await page.locator('openai-chatkit').count(), 0, 'without a session there is no widget');
  });
}

const ANSWERS = [
  { status: 403, code: 'workflow_not_allowed', cause: /does not serve this workflow/, remedy: /CHATKIT_WORKFLOWS/ },
  { status: 403, code: 'origin_not_allowed', cause: /does not accept this page’s origin/, remedy: /CORS_ALLOWED_ORIGINS/ },
  { status: 404, code: 'not_found', cause: /no chatkit-server behind this address/, remedy: /reverse proxy/ },
  { status: 500, code: 'internal_error', cause: /The request failed/, remedy: /request id/ },
  { status: 503, code: 'overloaded', cause: /busy/, remedy: /^Wait 7 seconds, then try again\./ },
  { status: 503, code: 'shutting_down', cause: /shutting down/, remedy: /^Wait 7 seconds/ },
];
test('the page names every other refusal of the server by its code', async (t) => {
  const page = await openDev(t);
  let answer;
  await page.route('**/api/chatkit/session', (route) => {
    const error = { type: 'some_error', code: answer.code, message: `The words for ${answer.code}.`, request_id: 'req-7' };
    route.fulfill({ status: answer.status, headers: { 'x-request-id': 'req-7', ...(answer.status === 503 && { 'retry-after': '7' }) }, json: { error, message: error.message } });
  });
  for (answer of ANSWERS) {
    await page.reload();
    await signIn(page);
    const failure = await failureOf(page, 'session');
    assert.match(failure.cause, answer.cause);
    assert.match(failure.remedy, answer.remedy);
    assert.equal(failure.says, `The server says: “The words for ${answer.code}.”`);
    assert.equal(failure.answer, `${answer.status} ${answer.code}`);
    assert.equal(failure.requestId, 'req-7');
  }
});

test('an answer that is not the server’s own is laid at the door of the proxy before it', async (t) => {
  const page = await openDev(t);
  await stepIs(page, 'widget', 'ok');
  for (const [status, cause] of [[502, /A proxy in front of the server/], [503, /A proxy in front of the server/], [504, /A proxy in front of the server/], [429, /in front of the server/], [404, /no chatkit-server/], [200, /not what the server sends/]]) {
    await page.route('**/api/chatkit/session', (route) => route.fulfill({ status, contentType: 'text/html', body: '<h1>nginx</h1>' }), { times: 1 });
    await page.reload();
    await signIn(page);
    assert.match((await failureOf(page, 'session')).cause, cause);
  }
});

test('a limit names the wait', async (t) => {
  const page = await openDev(t, { env: { RATE_LIMIT_USER_PER_MINUTE: '1', RATE_LIMIT_USER_BURST: '1' } });
  await signIn(page);
  const frame = await chatFrame(page);
  await frame.evaluate(() => window.askForSecret());
  const failure = await failureOf(page, 'session');
  assert.match(failure.cause, /Too many requests/);
  assert.match(failure.remedy, /^Wait ([1-9]|[1-5]\d|60) seconds?, then try again\. RATE_LIMIT_USER_PER_MINUTE/);
  assert.equal(failure.answer, '429 rate_limited');
});

test('a session of somebody else is refused, and the page says so', async (t) => {
  const page = await openDev(t);
  await signIn(page, 'ada');
  const adas = await (await chatFrame(page)).evaluate(() => window.secret);
  const other = await openPage(t, page.server.origin);
  await signIn(other, 'mallory');
  const frame = await chatFrame(other);
  await frame.evaluate((secret) => window.askForSecret(secret), adas);
  const failure = await failureOf(other, 'session');
  assert.match(failure.cause, /belongs to somebody else/);
  assert.equal(failure.answer, '403 session_mismatch');
});

const TOKENS = [
  { name: 'no token', token: () => '', answer: '401 missing_token', cause: /carried no token/ },
  { name: 'a token with a wrong signature', token: () => jwt('ada', 60, 'another-secret-of-the-browser-tests-01'), answer: '401 invalid_token', cause: /does not accept this token/ },
  { name: 'an expired token', token: () => jwt('ada', -3600), answer: '401 expired_token', cause: /has expired/ },
  { name: 'something that is no token', token: () => 'hunter2 – ünfug', answer: null, cause: /not a JWT/ },
];
for (const { name, token, answer, cause } of TOKENS) {
  test(`${name} fails the step that asks who one is`, async (t) => {
    const cdn = await startCdn(t);
    const server = await startServe(t, { CHATKIT_CDN_BASE: cdn.origin, JWT_SECRET });
    const page = await openPage(t, server.origin);
    await page.getByLabel('Your token (JWT)').fill(token());
    await page.getByRole('button', { name: 'Continue', exact: true }).click();
    const failure = await failureOf(page, 'who');
    assert.match(failure.cause, cause);
    assert.equal(failure.answer, answer);
    assert.ok(failure.remedy);
    await stepIs(page, 'session', 'waiting');
    assert.ok(await page.getByLabel('Your token (JWT)').isVisible(), 'one can try another token');
    assert.equal(await page.getByRole('button', { name: 'Sign out' }).count(), 0, 'nobody is signed in');
  });
}

test('a server that went away is named', async (t) => {
  const page = await openDev(t);
  await signIn(page);
  await stepIs(page, 'widget', 'ok');
  await page.server.stop();
  await (await chatFrame(page)).evaluate(() => window.askForSecret());
  assert.match((await failureOf(page, 'session')).cause, /cannot be reached/);
  assert.match((await failureOf(page, 'session')).remedy, /CORS_ALLOWED_ORIGINS/);
});

test('a first mint that failed can be tried again from its step', async (t) => {
  const page = await openDev(t, { prepare: (page) => page.route('**/api/chatkit/session', (route) => route.abort(), { times: 1 }) });
  await signIn(page);
  await failureOf(page, 'session');
  await page.locator('#session').getByRole('button', { name: 'Try again' }).click();
  await stepIs(page, 'session', 'ok');
  await stepIs(page, 'widget', 'ok');
});

test('a configuration that cannot be read is named, and can be asked for again', async (t) => {
  const page = await openDev(t, { prepare: (page) => page.route('**/api/chatkit/config', (route) => route.fulfill({ status: 404, body: 'nothing here' }), { times: 1 }) });
  assert.match((await failureOf(page, 'who')).cause, /no chatkit-server behind this address/);
  await page.getByRole('button', { name: 'Try again' }).click();
  await signIn(page);
});

test('a request without an answer ends at the deadline', async (t) => {
  const prepare = async (page) => {
    await page.clock.install();
    await page.route('**/api/chatkit/session', () => {});
  };
  const page = await openDev(t, { prepare });
  await signIn(page);
  await stepIs(page, 'session', 'running');
  await page.clock.fastForward(21_000);
  assert.match((await failureOf(page, 'session')).cause, /did not answer in time/);
});

test('sessions that the server could not end are named after signing out', async (t) => {
  const page = await openDev(t);
  await signIn(page);
  await stepIs(page, 'widget', 'ok');
  await page.server.stop();
  await page.getByRole('button', { name: 'Sign out' }).click();
  assert.match((await failureOf(page, 'session')).cause, /signed out here, but the server could not end your session.*cannot be reached/);
  assert.equal(await page.locator('openai-chatkit').count(), 0);
});

test('a script that does not come is named, and loads when tried again', async (t) => {
  const page = await openDev(t, { behaviour: 'missing' });
  const failure = await failureOf(page, 'widget');
  assert.match(failure.cause, /chatkit\.js did not load/);
  assert.match(failure.remedy, /ad blocker.*CHATKIT_ASSETS=proxy/);
  await signIn(page);
  await stepIs(page, 'session', 'ok');
  await failureOf(page, 'widget');
  page.cdn.behaviour = 'works';
  await page.locator('#widget').getByRole('button', { name: 'Try again' }).click();
  await stepIs(page, 'widget', 'ok');
});

test('a script that never arrives is named at the deadline', async (t) => {
  const page = await openDev(t, { behaviour: 'hangs', prepare: (page) => page.clock.install() });
  await stepIs(page, 'widget', 'running');
  await page.clock.fastForward(16_000);
  assert.match((await failureOf(page, 'widget')).cause, /still loading, far too late/);
});

test('a script that the server itself could not get from the CDN is told from one that the browser could not', async (t) => {
  const page = await openDev(t, { behaviour: 'missing', env: { CHATKIT_ASSETS: 'proxy' } });
  const failure = await failureOf(page, 'widget');
  assert.match(failure.cause, /server could not get chatkit\.js/);
  assert.match(failure.remedy, /HTTPS_PROXY.*CHATKIT_CDN_BASE/);
  assert.match(failure.answer, /^[45]\d\d/);
});

test('a Content-Security-Policy that blocks the script is told from a script that is not there', async (t) => {
  const page = await openDev(t, { behaviour: 'missing' });
  await failureOf(page, 'widget');
  await strengthen(page, "script-src 'self'");
  await page.locator('#widget').getByRole('button', { name: 'Try again' }).click();
  await page.getByText('Content-Security-Policy blocks chatkit.js').first().waitFor();
  assert.match((await failureOf(page, 'widget')).remedy, /script-src/);
});

test('a Content-Security-Policy that blocks the frame is named', async (t) => {
  const page = await openDev(t);
  await stepIs(page, 'widget', 'ok');
  await strengthen(page, "frame-src 'none'");
  await signInAs(page, 'grace');
  assert.match((await failureOf(page, 'widget')).cause, /blocks the widget’s frame/);
});

test('a script that defines no element is named', async (t) => {
  const page = await openDev(t, { behaviour: 'defines nothing', prepare: (page) => page.clock.install() });
  await signIn(page);
  await stepIs(page, 'widget', 'running');
  await page.clock.fastForward(6_000);
  assert.match((await failureOf(page, 'widget')).cause, /defined no <openai-chatkit>/);
});

test('a frame that stays blank is put down to the allow-list of domains', async (t) => {
  const page = await openDev(t, { behaviour: 'silent frame', prepare: (page) => page.clock.install() });
  await signIn(page);
  await page.locator('#inline-chat openai-chatkit').waitFor();
  await page.clock.fastForward(16_000);
  const failure = await failureOf(page, 'widget');
  assert.match(failure.cause, /frame stays blank/);
  assert.match(failure.remedy, /allow-list: add 127\.0\.0\.1 /);
  page.cdn.behaviour = 'works';
  await page.locator('#widget').getByRole('button', { name: 'Try again' }).click();
  await stepIs(page, 'widget', 'ok');
});

test('an error that the widget reports is shown in its words, without any secret in them', async (t) => {
  const page = await openDev(t);
  await signIn(page);
  const frame = await chatFrame(page);
  await frame.evaluate(() => window.reportError('Domain verification failed for ek_0123456789abcdef'));
  const failure = await failureOf(page, 'widget');
  assert.match(failure.cause, /widget reported an error/);
  assert.match(failure.remedy, /allow-list/);
  assert.equal(failure.says, 'The widget says: “Domain verification failed for ek_…”');
});

/** Adds a policy to the page's own; the browser obeys both from then on. */
const strengthen = (page, policy) =>
  page.evaluate((content) => {
    const meta = document.createElement('meta');
    document.head.append(Object.assign(meta, { httpEquiv: 'Content-Security-Policy', content }));
  }, policy);
