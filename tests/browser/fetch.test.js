// chatkit-fetch.js in a real browser, in front of a stand-in that counts sessions and remembers what it was sent.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openPage } from './support/browser.js';
import { startBackend } from './support/backend.js';

/** An empty page with `make` (chatkitFetch) at hand. */
async function openEmpty(t) {
  const backend = await startBackend(t);
  const page = await openPage(t, backend.origin);
  await page.evaluate(async () => (window.make = (await import('/chatkit-fetch.js')).chatkitFetch));
  return { page, backend, to: (path) => backend.requests.filter((request) => request.path === path) };
}

test('many callers wait for one session, and each request carries it', async (t) => {
  const { page, backend, to } = await openEmpty(t);
  const statuses = await page.evaluate(async () => {
    window.api = make();
    return Promise.all(Array.from({ length: 8 }, async () => (await api('/api/chatkit/echo')).status));
  });
  assert.deepEqual(statuses, Array(8).fill(200));
  assert.equal(backend.minted, 1);
  for (const { headers } of to('/api/chatkit/echo')) assert.equal(headers.authorization, 'Bearer secret-1');
  assert.equal(to('/api/chatkit/session')[0].body, '{}');
  await page.evaluate(() => api('/api/chatkit/echo'));
  assert.equal(backend.minted, 1, 'the session is kept');
  assert.equal(await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie, Object.keys(api)])), '[{},{},"",[]]');
});

test('a page with a token of its own sends it to the session endpoint, and nowhere else', async (t) => {
  const { page, backend, to } = await openEmpty(t);
  await page.evaluate(async () => {
    let asked = 0;
    window.api = make({ getHeaders: async () => ({ Authorization: `Bearer jwt-${++asked}` }), body: { workflow: 'support' } });
    await api('/api/chatkit/echo');
  });
  assert.equal(to('/api/chatkit/session')[0].headers.authorization, 'Bearer jwt-1');
  assert.deepEqual(JSON.parse(to('/api/chatkit/session')[0].body), { workflow: 'support' });
  assert.equal(to('/api/chatkit/echo')[0].headers.authorization, 'Bearer secret-1');
  backend.live.clear();
  await page.evaluate(() => api('/api/chatkit/echo'));
  assert.equal(to('/api/chatkit/refresh')[0].headers.authorization, 'Bearer jwt-2', 'which it is asked for anew');
  assert.deepEqual(JSON.parse(to('/api/chatkit/refresh')[0].body), { workflow: 'support', currentClientSecret: 'secret-1' });
});

test('headers and body arrive as they were given, in every form that fetch takes', async (t) => {
  const { page } = await openEmpty(t);
  const echoes = await page.evaluate(async () => {
    const api = make();
    const url = '/api/chatkit/echo';
    const body = 'bödy';
    const mine = { 'x-mine': 'kept', 'content-type': 'text/x-test' };
    const form = new FormData();
    form.append('file', new File(['12'], 'a.txt'));
    const answers = [
      api(url, { method: 'POST', headers: mine, body }),
      api(new URL(url, location.href), { method: 'POST', headers: Object.entries(mine), body }),
      api(url, { method: 'POST', headers: new Headers(mine), body }),
      api(new Request(url, { method: 'POST', headers: mine, body })),
      api(new Request(url, { method: 'POST', headers: { 'x-mine': 'replaced' }, body: 'replaced' }), { headers: mine, body }),
      api(url, { method: 'POST', body: form }),
    ];
    return Promise.all(answers.map(async (answer) => (await answer).json()));
  });
  for (const { headers, body } of echoes.slice(0, 5)) {
    assert.deepEqual([headers['x-mine'], headers['content-type'], headers.authorization, body], ['kept', 'text/x-test', 'Bearer secret-1', 'bödy']);
  }
  assert.match(echoes[5].headers['content-type'], /^multipart\/form-data; boundary=/);
  assert.match(echoes[5].body, /filename="a\.txt"/);
});

test('a session is refreshed shortly before its end, by the clock of the server', async (t) => {
  const { page, backend, to } = await openEmpty(t);
  backend.clockSkew = -7200; // the server's clock is two hours slow: its end is long past by ours
  await page.clock.install();
  await page.evaluate(async () => (window.api = make(), await api('/api/chatkit/echo')));
  await page.clock.fastForward(560_000);
  await page.evaluate(() => api('/api/chatkit/echo'));
  assert.deepEqual([backend.minted, backend.refreshed], [1, 0], '40 seconds before its end it will do');
  await page.clock.fastForward(15_000);
  await page.evaluate(() => Promise.all([api('/api/chatkit/echo'), api('/api/chatkit/echo')]));
  assert.deepEqual([backend.minted, backend.refreshed], [2, 1], 'one refresh for both');
  assert.deepEqual(JSON.parse(to('/api/chatkit/refresh')[0].body), { currentClientSecret: 'secret-1' });
  assert.equal(to('/api/chatkit/echo').at(-1).headers.authorization, 'Bearer secret-2');
});

test('while it lasts, the old session stands in for a refresh that failed', async (t) => {
  const { page, backend, to } = await openEmpty(t);
  await page.clock.install();
  await page.evaluate(async () => (window.api = make(), await api('/api/chatkit/echo')));
  backend.refuseMint = 503;
  await page.clock.fastForward(580_000);
  assert.equal(await page.evaluate(async () => (await api('/api/chatkit/echo')).status), 200);
  await page.clock.fastForward(30_000);
  assert.equal(await page.evaluate(async () => (await api('/api/chatkit/echo')).status), 503, 'it is over');
  backend.refuseMint = 0;
  assert.equal(await page.evaluate(async () => (await api('/api/chatkit/echo')).status), 200);
  assert.equal(to('/api/chatkit/session').length, 2, 'after a refused refresh one begins anew');
});

test('a life that makes no sense by this clock is left to the 401', async (t) => {
  const { page, backend } = await openEmpty(t);
  await page.evaluate(async () => {
    const getSession = async (current) => ({ client_secret: (await (await fetch('/api/chatkit/session', { method: 'POST', body: current })).json()).client_secret, expires_at: '2001-01-01T00:00:00Z' });
    const api = make({ getSession });
    for (let i = 0; i < 3; i += 1) await api('/api/chatkit/echo');
  });
  assert.equal(backend.minted, 1, 'and does not mint for every request');
});

test('a 401 costs one refresh, and the request is sent once more as it was', async (t) => {
  const { page, backend, to } = await openEmpty(t);
  const replay = (given) => page.evaluate(async ([form]) => {
    const init = { method: 'POST', headers: { 'x-mine': 'kept' }, body: 'again' };
    const answer = await (form === 'request' ? api(new Request('/api/chatkit/echo', init)) : api('/api/chatkit/echo', init));
    return { status: answer.status, ...(await answer.json()) };
  }, [given]);
  await page.evaluate(async () => (window.api = make(), await api('/api/chatkit/echo')));
  for (const given of ['init', 'request']) {
    backend.live.clear();
    const { status, body, headers } = await replay(given);
    assert.deepEqual([status, body, headers['x-mine']], [200, 'again', 'kept'], given);
  }
  assert.equal(backend.refreshed, 2);

  backend.live.clear();
  const statuses = await page.evaluate(() => Promise.all(Array.from({ length: 6 }, async () => (await api('/api/chatkit/echo', { method: 'POST', body: 'x' })).status)));
  assert.deepEqual(statuses, Array(6).fill(200));
  assert.equal(backend.refreshed, 3, 'one refresh for all that were refused');

  backend.live.add = () => backend.live; // from now on no session is ever good
  backend.live.clear();
  const before = to('/api/chatkit/echo').length;
  assert.equal(await page.evaluate(async () => (await api('/api/chatkit/echo')).status), 401, 'the second 401 is the answer');
  assert.equal(to('/api/chatkit/echo').length - before, 2);
});

test('any other status is handed on at once', async (t) => {
  const { page, backend, to } = await openEmpty(t);
  for (const status of [400, 403, 404, 409, 429, 500, 503]) {
    backend.refuse = status;
    const before = backend.requests.length;
    assert.equal(await page.evaluate(async () => (await (window.api ??= make())('/api/chatkit', { method: 'POST', body: '{}' })).status), status);
    assert.equal(backend.requests.length - before, status === 400 ? 2 : 1);
  }
  assert.equal(to('/api/chatkit/refresh').length, 0);
});

test('a server that is ending or busy is asked again after its Retry-After, at most twice', async (t) => {
  const { page, backend, to } = await openEmpty(t);
  const outcome = (given = {}) => page.evaluate(async (given) => {
    const init = { method: 'POST', body: '{"type":"threads.list","params":{}}', ...given };
    window.api ??= make();
    const answer = await api(given.isRequest ? new Request('/api/chatkit', init) : '/api/chatkit', init);
    return [answer.status, (await answer.json()).error?.code];
  }, given);
  const begin = (refusals) => {
    backend.refusals = refusals.map((retryAfter) => ({ status: 503, headers: { 'retry-after': retryAfter } }));
    backend.requests.length = 0;
  };
  begin(['0']);
  assert.deepEqual(await outcome(), [200, undefined]);
  assert.deepEqual(to('/api/chatkit').map(({ body }) => body), Array(1).fill('{"type":"threads.list","params":{}}'));
  assert.equal(to('/api/chatkit/session').length, 2, 'the mint was refused, and asked for again');

  begin(['0', '0']);
  assert.deepEqual(await outcome({ isRequest: true }), [200, undefined]);
  assert.deepEqual(to('/api/chatkit').map(({ body }) => body), Array(3).fill('{"type":"threads.list","params":{}}'));

  begin(['0', '0', '0']);
  assert.deepEqual(await outcome(), [503, 'not_now'], 'the third refusal is the answer');
  for (const retryAfter of ['6', 'Wed, 21 Oct 2015 07:28:00 GMT']) {
    begin([retryAfter]);
    assert.deepEqual(await outcome(), [503, 'not_now'], `nobody waits for ${retryAfter}`);
  }

  begin(['1']);
  const began = performance.now();
  assert.deepEqual(await outcome(), [200, undefined]);
  assert.ok(performance.now() - began >= 1000, 'it is not asked before its time');

  begin(['5']);
  const left = await page.evaluate(async () => {
    const leaving = new AbortController();
    setTimeout(() => leaving.abort(), 100);
    return api('/api/chatkit', { method: 'POST', body: '{}', signal: leaving.signal }).catch((error) => error.name);
  });
  assert.equal(left, 'AbortError', 'who gives up waits no longer');
});

test('a body that is a stream is not sent twice: its 401 is the answer, and the next request refreshes', async (t) => {
  const { page, backend, to } = await openEmpty(t);
  await page.evaluate(() => (window.sent = [], window.api = make({
    // A browser streams a body over HTTP/2 alone; what counts here is how often it is sent.
    fetch: async (input, init) => (init?.body instanceof ReadableStream ? (sent.push(await new Response(init.body).text()), new Response('', { status: 401 })) : fetch(input, init)),
  })));
  const status = await page.evaluate(async () => (await api('/api/chatkit/echo', { method: 'POST', body: new Blob(['once']).stream(), duplex: 'half' })).status);
  assert.equal(status, 401);
  assert.deepEqual(await page.evaluate(() => sent), ['once']);
  assert.equal(backend.refreshed, 0);
  assert.equal(await page.evaluate(async () => (await api('/api/chatkit/echo')).status), 200);
  assert.equal(to('/api/chatkit/refresh').length, 1);
});

test('a refusal to mint is the answer, for each caller, and is not remembered', async (t) => {
  const { page, backend, to } = await openEmpty(t);
  backend.refuseMint = 429;
  const answers = await page.evaluate(() => (window.api = make(), Promise.all(Array.from({ length: 3 }, async () => {
    const answer = await api('/api/chatkit/echo');
    return [answer.status, (await answer.json()).message];
  }))));
  assert.deepEqual(answers, Array(3).fill([429, 'Refused: no_session.']));
  assert.deepEqual([to('/api/chatkit/session').length, to('/api/chatkit/echo').length], [1, 0]);
  backend.refuseMint = 0;
  assert.equal(await page.evaluate(async () => (await api('/api/chatkit/echo')).status), 200);

  await page.route('**/api/chatkit/session', (route) => route.abort());
  const outcome = () => page.evaluate(() => api('/api/chatkit/echo').then(({ status }) => status, (error) => error.name));
  await page.evaluate(() => (window.api = make()));
  assert.equal(await outcome(), 'TypeError', 'a network that is down is what fetch makes of it');
  await page.unroute('**/api/chatkit/session');
  assert.equal(await outcome(), 200);
});

test('a session endpoint that never answers holds nobody for ever', async (t) => {
  const { page, backend } = await openEmpty(t);
  backend.holdMint = new Promise(() => {});
  assert.equal(await page.evaluate(() => make({ timeout: 0.2 })('/api/chatkit/echo').catch((error) => error.name)), 'TimeoutError');
});

test('a caller that gives up leaves at once, and the others get the session', async (t) => {
  const { page, backend, to } = await openEmpty(t);
  let release;
  backend.holdMint = new Promise((resolve) => (release = resolve));
  await page.evaluate(() => {
    const api = make();
    window.leaving = new AbortController();
    window.left = api('/api/chatkit/echo', { signal: leaving.signal }).catch((error) => error.name);
    window.leftToo = api(new Request('/api/chatkit/echo', { signal: leaving.signal })).catch((error) => error.name);
    window.stayed = api('/api/chatkit/echo').then(({ status }) => status);
  });
  assert.deepEqual(await page.evaluate(() => (leaving.abort(), Promise.all([left, leftToo]))), ['AbortError', 'AbortError']);
  release();
  assert.equal(await page.evaluate(() => stayed), 200);
  assert.equal(to('/api/chatkit/echo').length, 1);
  assert.equal(backend.minted, 1);
});

test('a caller that gave up before it began costs nothing', async (t) => {
  const { page, backend } = await openEmpty(t);
  assert.equal(await page.evaluate(() => make()('/api/chatkit/echo', { signal: AbortSignal.abort() }).catch((error) => error.name)), 'AbortError');
  assert.equal(await page.evaluate(() => fetch('/api/chatkit/echo').then(({ status }) => status)), 401);
  assert.deepEqual(backend.requests.map(({ path }) => path), ['/api/chatkit/echo'], 'no session was asked for');
});

test('an abort in the middle of an answer reaches the server', async (t) => {
  const { page, backend } = await openEmpty(t);
  backend.script.forever = async function* () {
    yield { wait: new Promise(() => {}) };
  };
  await page.evaluate(async () => {
    window.stop = new AbortController();
    const input = { content: [{ type: 'input_text', text: 'forever' }], attachments: [], inference_options: {} };
    const answer = await make()('/api/chatkit', { method: 'POST', body: JSON.stringify({ type: 'threads.create', params: { input } }), signal: stop.signal });
    window.end = answer.text().catch((error) => error.name);
  });
  assert.equal(backend.streams, 1);
  assert.equal(await page.evaluate(() => (stop.abort(), end)), 'AbortError');
  for (let waited = 0; backend.streams && waited < 5000; waited += 20) await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(backend.streams, 0);
});

test('another origin gets no secret, neither by a request, nor by a refresh, nor by a redirect', async (t) => {
  const { page, backend } = await openEmpty(t);
  const other = await startBackend(t);
  backend.elsewhere = '/api/chatkit/echo'; // wherever it leads, a redirect is not followed
  const outcome = await page.evaluate(async (other) => {
    window.api = make({ refreshUrl: `${other}/api/chatkit/refresh` });
    await api('/api/chatkit/echo');
    const straight = await api(`${other}/api/chatkit/echo`, { headers: { 'x-mine': 'kept' } });
    const redirected = await api('/api/chatkit/away').catch((error) => error.name);
    return [straight.status, redirected];
  }, other.origin);
  assert.deepEqual(outcome, [401, 'TypeError']);
  backend.live.clear();
  await page.evaluate(() => api('/api/chatkit/echo').catch(() => {}));
  assert.equal(other.requests.length, 2, JSON.stringify(other.requests));
  assert.doesNotMatch(JSON.stringify(other.requests.map(({ headers, body }) => [headers, body])), /secret-\d/);
  assert.equal(other.requests[0].headers['x-mine'], 'kept');
});

test('it serves a page of another origin, as soon as it is told where the server is', async (t) => {
  const { page } = await openEmpty(t);
  const server = await startBackend(t);
  const status = await page.evaluate(async (origin) => (await make({ url: `${origin}/api/chatkit` })(`${origin}/api/chatkit/echo`)).status, server.origin);
  assert.equal(status, 200);
  assert.deepEqual(server.requests.map(({ path }) => path), ['/api/chatkit/session', '/api/chatkit/echo']);
});
