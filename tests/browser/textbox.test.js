// The page's text box, in front of a stand-in for the protocol whose answers are paced, cut and refused as a test needs it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { item, words } from './support/backend.js';
import { failureOf, signIn, stepIs } from './support/browser.js';
import { answer, attach, idle, openScripted, say } from './support/selfhosted.js';

/** A promise, and what settles it. */
const gate = () => {
  let open;
  return Object.assign(new Promise((resolve) => (open = resolve)), { open: () => open() });
};
const bodies = (page) => page.backend.requests.filter(({ path }) => path === '/api/chatkit').map(({ body }) => JSON.parse(body));
const types = (page) => bodies(page).map(({ type }) => type);

test('where the widget can’t be loaded the page says why, and the text box is there', async (t) => {
  const page = await openScripted(t, { hash: '' });
  assert.match((await failureOf(page, 'widget')).cause, /chatkit\.js did not load/);
  await page.getByText('The widget is not there, step 3 says why.').waitFor();
  await say(page, 'hello');
  assert.equal(await answer(page), 'You said: hello');
  page.cdn.behaviour = 'works';
  await page.locator('#widget').getByRole('button', { name: 'Try again' }).click();
  await page.getByLabel('Inline').waitFor();
  assert.ok(await page.getByLabel('Inline').isChecked());
  await page.locator('#inline-chat openai-chatkit').waitFor();
});

test('with #textbox the widget that isn’t loaded is no failure, and is loaded when it is chosen', async (t) => {
  const page = await openScripted(t);
  await say(page, 'hello');
  assert.equal(await answer(page), 'You said: hello');
  await stepIs(page, 'widget', 'waiting');
  assert.match(await page.locator('#widget .detail').innerText(), /^The text box needs none\./);
  assert.equal(await page.locator('[data-state="failed"]').count(), 0);
  assert.equal(page.cdn.scriptRequests, 0);
  await page.getByLabel('Inline').click();
  assert.match((await failureOf(page, 'widget')).cause, /chatkit\.js did not load/);
});

test('where the widget works the text box is a choice, and both use one session', async (t) => {
  const page = await openScripted(t, { behaviour: 'works', hash: '' });
  await stepIs(page, 'widget', 'ok');
  await page.locator('#textbox').check();
  await say(page, 'hello');
  assert.equal(await answer(page), 'You said: hello');
  assert.equal(page.backend.minted, 1);
  assert.deepEqual(page.noise, [], 'neither the console nor the Content-Security-Policy complains');
});

test('text streams in as it comes, wherever the network cuts it', async (t) => {
  const half = gate();
  const end = gate();
  const page = await openScripted(t, {
    script: {
      slow: async function* ({ backend, thread }) {
        const message = item(backend, thread, 'assistant_message', { content: [] });
        const delta = (text) => ({ type: 'thread.item.updated', item_id: message.id, update: { type: 'assistant_message.content_part.text_delta', content_index: 0, delta: text } });
        yield { type: 'thread.item.added', item: message };
        yield { raw: ': a comment\n\nevent: x\n' };
        const bytes = Buffer.from(`data: ${JSON.stringify(delta('Grüße 👋🏽\u2028'))}\r\n\r\n`);
        for (const byte of bytes) yield { raw: Buffer.from([byte]) };
        yield { wait: half };
        const [start, ...rest] = JSON.stringify(delta('<b>and more</b>')).split(',');
        yield { raw: `data: ${start},\r` };
        yield { wait: new Promise((resolve) => setTimeout(resolve, 50)) };
        yield { raw: `\ndata:${rest.join(',')}\n` };
        yield { raw: '\n' };
        yield { wait: end };
        yield { type: 'thread.item.done', item: { ...message, content: [{ type: 'output_text', text: 'Grüße 👋🏽\u2028<b>and more</b> Done.', annotations: [] }] } };
      },
    },
  });
  await say(page, 'slow');
  const words = page.locator('#log .assistant-message .words');
  const shows = (text) => page.waitForFunction((text) => document.querySelector('#log .assistant-message .words')?.textContent === text, text);
  await shows('Grüße 👋🏽\u2028');
  assert.equal(await page.locator('#log').getAttribute('aria-busy'), 'true', 'a screen reader waits for the whole');
  half.open();
  await shows('Grüße 👋🏽\u2028<b>and more</b>');
  assert.equal(await words.locator('b').count(), 0, 'text is never markup');
  end.open();
  await shows('Grüße 👋🏽\u2028<b>and more</b> Done.');
  await idle(page);
});

test('a stream of events is read the same in whatever pieces it comes', async (t) => {
  const page = await openScripted(t, { name: null });
  const read = (stream, size) => page.evaluate(async ([stream, size]) => {
    const { frames } = await import('/protocol.js');
    const bytes = new TextEncoder().encode(stream);
    let at = 0;
    const pull = (controller) => (at < bytes.length ? controller.enqueue(bytes.slice(at, (at += size))) : controller.close());
    const found = [];
    for await (const data of frames(new ReadableStream({ pull }))) found.push(data);
    return found;
  }, [stream, size]);
  const stream = ': hello\n\ndata: ü👋🏽\u2028x\n\nevent: x\r\nid: 1\r\ndata: a\r\ndata:b\r\ndata\r\n\r\ndatum: no\n\n:\n\ndata: cut off';
  for (const size of [1, 2, 3, 5, 7, 1000]) assert.deepEqual(await read(stream, size), ['ü👋🏽\u2028x', 'a\nb\n'], `in pieces of ${size}`);
});

test('Stop ends the request, keeps what came, and the next message goes on in the thread', async (t) => {
  const page = await openScripted(t, { script: { long: ({ backend, thread }) => words(backend, thread, ['The beginning', gate()]) } });
  await say(page, 'long');
  await page.getByText('The beginning').waitFor();
  assert.equal(await page.getByRole('button', { name: 'Send', exact: true }).isDisabled(), true);
  await page.getByRole('button', { name: 'Stop' }).click();
  await idle(page);
  assert.ok(await page.getByLabel('Message', { exact: true }).evaluate((field) => field === document.activeElement));
  for (let waited = 0; page.backend.streams && waited < 5000; waited += 20) await page.waitForTimeout(20);
  assert.equal(page.backend.streams, 0);
  assert.equal(await page.locator('#trouble').isVisible(), false, 'to stop is no trouble');
  assert.ok(await page.getByText('The beginning').isVisible());
  await say(page, 'on');
  assert.equal(await answer(page), 'You said: on');
  assert.deepEqual(types(page).filter((type) => type !== 'threads.list'), ['threads.create', 'threads.add_user_message']);
});

test('an answer that fails can be asked for again, and what came of it goes', async (t) => {
  const page = await openScripted(t, {
    script: {
      fail: async function* ({ backend, thread, isRetry }) {
        if (isRetry) return yield* words(backend, thread, ['It went well.']);
        const message = item(backend, thread, 'assistant_message', { content: [{ type: 'output_text', text: 'Half of', annotations: [] }] });
        yield { type: 'thread.item.added', item: message };
        yield { type: 'error', code: 'stream.error', allow_retry: true };
      },
      never: async function* () {
        yield { type: 'error', code: 'custom', message: 'Not on a Sunday.', allow_retry: false };
      },
    },
  });
  await say(page, 'fail');
  await page.getByRole('alert').getByText('The answer failed.').waitFor();
  assert.ok(await page.getByText('Half of').isVisible());
  await page.getByRole('button', { name: 'Retry' }).click();
  assert.equal(await answer(page), 'It went well.');
  assert.equal(await page.getByText('Half of').count(), 0);
  assert.equal(await page.getByRole('alert').count(), 0);
  const [thread] = page.backend.threads.values();
  assert.deepEqual(bodies(page).find(({ type }) => type === 'threads.retry_after_item').params, { thread_id: thread.id, item_id: thread.list[0].id });
  await say(page, 'never');
  await page.getByRole('alert').getByText('Not on a Sunday.').waitFor();
  assert.equal(await page.getByRole('button', { name: 'Retry' }).count(), 0);
});

test('a line that breaks is named and can be retried', async (t) => {
  let isCut = true;
  const shown = gate();
  const page = await openScripted(t, {
    script: {
      cut: async function* ({ backend, thread }) {
        if (!isCut) return yield* words(backend, thread, ['Whole.']);
        isCut = false;
        yield { wait: shown };
        yield { cut: true };
      },
    },
  });
  await say(page, 'cut');
  await page.locator('#log .user-message').waitFor();
  shown.open();
  await page.getByRole('button', { name: 'Retry' }).click();
  assert.equal(await answer(page), 'Whole.');
});

test('a message that is refused stays in the box, with the server’s reason', async (t) => {
  const page = await openScripted(t);
  page.backend.refuse = 429;
  await say(page, 'too many');
  await page.getByRole('alert').getByText('Refused: not_now.').waitFor();
  assert.equal(await page.getByLabel('Message', { exact: true }).inputValue(), 'too many');
  page.backend.refuse = 0;
  await page.getByRole('button', { name: 'Send', exact: true }).click();
  assert.equal(await answer(page), 'You said: too many');
});

test('reasoning, tasks, sources, notices and progress are shown plainly', async (t) => {
  const held = gate();
  const page = await openScripted(t, {
    script: {
      show: async function* ({ backend, thread }) {
        const flow = item(backend, thread, 'workflow', { workflow: { type: 'reasoning', tasks: [], expanded: false } });
        const update = (type, task_index, task) => ({ type: 'thread.item.updated', item_id: flow.id, update: { type: `workflow.task.${type}`, task_index, task: { status_indicator: 'none', ...task } } });
        yield { type: 'progress_update', text: 'Looking it up' };
        yield { wait: held };
        yield { type: 'thread.item.added', item: flow };
        yield update('added', 0, { type: 'thought', content: 'I th' });
        yield update('updated', 0, { type: 'thought', content: 'I think' });
        yield update('added', 1, { type: 'web_search', queries: ['weather oslo'], sources: [{ type: 'url', title: 'Yr', url: 'https://yr.example/oslo' }] });
        const tasks = [{ type: 'thought', content: 'I think' }, { type: 'web_search', queries: ['weather oslo'], sources: [{ type: 'url', title: 'Yr', url: 'https://yr.example/oslo' }] }];
        yield { type: 'thread.item.done', item: { ...flow, workflow: { type: 'reasoning', tasks, summary: { duration: 3 }, expanded: false } } };
        yield { type: 'notice', level: 'warning', message: 'Mind the gap.' };
        const hidden = item(backend, thread, 'end_of_turn', {});
        yield { type: 'thread.item.done', item: hidden };
        const source = (more) => ({ type: 'annotation', index: 3, source: { title: 'A source', ...more } });
        yield* words(backend, thread, ['Cold.'], [source({ type: 'url', url: 'https://a.example/?b=1&c=2' }), source({ type: 'url', url: 'javascript:alert(1)', title: 'Bad' }), source({ type: 'file', filename: 'a.pdf', title: 'a.pdf' })]);
      },
    },
  });
  await say(page, 'show');
  await page.locator('#progress').getByText('Looking it up').waitFor();
  held.open();
  await idle(page);
  const flow = page.locator('#log .workflow');
  assert.equal(await flow.locator('summary').innerText(), 'Thought for 3 s');
  assert.deepEqual(await flow.locator('.tasks > li').allInnerTexts(), ['I think', 'Web search: “weather oslo”\n\nYr']);
  assert.equal(await page.getByRole('link', { name: 'Yr' }).getAttribute('href'), 'https://yr.example/oslo');
  assert.ok(await page.getByText('Mind the gap.').isVisible());
  const sources = page.locator('#log .assistant-message .sources');
  assert.deepEqual(await sources.locator('li').allInnerTexts(), ['A source', 'Bad', 'a.pdf']);
  assert.deepEqual(await sources.locator('a').evaluateAll((links) => links.map(({ href, rel }) => [href, rel])), [['https://a.example/?b=1&c=2', 'noopener noreferrer']]);
  assert.equal(await page.locator('#progress').innerText(), '');
});

test('a client tool is answered by the page, and one that it does not have by an error', async (t) => {
  const call = (name) => async function* ({ backend, thread }) {
    const call = item(backend, thread, 'client_tool_call', { status: 'pending', call_id: 'call_1', name, arguments: { project: 'apollo' } });
    thread.list.push(call);
    yield { type: 'thread.item.done', item: call };
  };
  const page = await openScripted(t, { script: { selection: call('get_selection'), nonsense: call('launch_rocket') } });
  await page.locator('.lead').selectText();
  await say(page, 'selection');
  const lead = await page.locator('.lead').innerText();
  await page.getByText(`The tool said ${JSON.stringify({ page: 'chatkit-server: does it work?', text: lead })}.`).waitFor();
  assert.match(await page.locator('#log .client-tool-call summary').innerText(), /^Called get_selection/);
  await idle(page);
  await say(page, 'nonsense');
  await page.getByText('The tool said {"error":"This page has no tool launch_rocket."}.').waitFor();
});

test('files are sent at once, named in the message, and can be taken out again', async (t) => {
  const page = await openScripted(t);
  const file = (name) => ({ name, mimeType: 'text/plain', buffer: Buffer.from('some words') });
  await attach(page, [file('a.txt'), file('b.txt')]);
  await page.getByRole('button', { name: 'Remove b.txt' }).click();
  await page.getByRole('button', { name: 'Remove a.txt' }).waitFor();
  await say(page, 'with a file');
  assert.equal(await answer(page), 'You said: with a file');
  assert.deepEqual(await page.locator('#log .user-message .files li').allInnerTexts(), ['a.txt']);
  assert.equal(await page.locator('#files li').count(), 0);
  assert.ok(types(page).includes('attachments.delete'));
  const upload = page.backend.requests.find(({ path }) => path === '/api/chatkit/upload');
  assert.match(upload.headers.authorization, /^Bearer secret-/);
  page.backend.refuse = 413;
  await attach(page, file('big.txt'));
  await page.getByRole('alert').getByText('big.txt was not sent. Refused: not_now.').waitFor();
  assert.equal(await page.locator('#files li').count(), 0);
});

test('the log follows although an image gets its height later', async (t) => {
  const page = await openScripted(t);
  const held = gate();
  await page.route('**/tall.svg', async (route) => {
    await held;
    await route.fulfill({ contentType: 'image/svg+xml', body: '<svg xmlns="http://www.w3.org/2000/svg" width="200" height="256"/>' });
  });
  await say(page, 'a line\n'.repeat(20));
  await answer(page);
  await attach(page, { name: 'tall.png', mimeType: 'image/png', buffer: Buffer.from('an image') });
  await page.getByRole('button', { name: 'Remove tall.png' }).waitFor();
  [...page.backend.attachments.values()][0].preview_url = '/tall.svg';
  await say(page, 'look');
  await answer(page);
  held.open();
  const fromEnd = () => page.evaluate(() => {
    const log = document.getElementById('log');
    return log.querySelector('img')?.naturalHeight === 256 && Math.round(log.scrollHeight - log.scrollTop - log.clientHeight);
  });
  await page.waitForFunction(() => document.querySelector('#log img')?.complete);
  assert.equal(await fromEnd(), 0);
});

test('a message waits for its files', async (t) => {
  const page = await openScripted(t);
  const held = gate();
  await page.route('**/api/chatkit/upload', async (route) => (await held, route.continue()));
  await attach(page, { name: 'slow.txt', mimeType: 'text/plain', buffer: Buffer.from('words') });
  await say(page, 'too early');
  await page.locator('#progress').getByText('A file is still on its way.').waitFor();
  assert.equal(types(page).includes('threads.create'), false);
  held.open();
  await page.getByRole('button', { name: 'Remove slow.txt' }).waitFor();
  await page.getByRole('button', { name: 'Send', exact: true }).click();
  assert.equal(await answer(page), 'You said: too early');
  assert.deepEqual(bodies(page).find(({ type }) => type === 'threads.create').params.input.attachments, ['atc_1']);
});

test('a thread that the server closes says so, and takes no more', async (t) => {
  const page = await openScripted(t, {
    script: {
      close: async function* ({ thread }) {
        thread.title = 'Closed';
        yield { type: 'thread.updated', thread: { ...thread, list: undefined, status: { type: 'closed', reason: 'All is said.' }, items: { data: [], has_more: false } } };
      },
    },
  });
  await say(page, 'hello');
  await answer(page);
  await say(page, 'close');
  await page.locator('#log .user-message').nth(1).waitFor();
  await idle(page);
  assert.equal(await page.locator('#progress').innerText(), 'All is said.');
  assert.equal(await page.getByLabel('Message', { exact: true }).isDisabled(), true);
});

test('a reload shows the thread, and signing out takes it away', async (t) => {
  const page = await openScripted(t);
  await say(page, 'remember me');
  await answer(page);
  await page.locator('#thread-title').getByText('remember me').waitFor();
  await page.reload();
  await signIn(page);
  await page.locator('#log').getByText('You said: remember me').waitFor();
  assert.equal(await page.locator('#thread-title').innerText(), 'remember me');
  await say(page, 'again');
  assert.equal(await answer(page), 'You said: again');
  assert.equal(page.backend.threads.size, 1);
  await page.getByRole('button', { name: 'Sign out' }).click();
  assert.equal(await page.locator('#log').innerText(), '');
  assert.equal(await page.evaluate(() => sessionStorage.getItem('chatkit-sample-thread')), null);
});

test('earlier chats are listed, opened at their end, paged back, and deleted', async (t) => {
  const page = await openScripted(t, { name: null });
  for (let n = 1; n <= 25; n += 1) {
    const id = `thr_${n}`;
    const list = Array.from({ length: n === 25 ? 130 : 2 }, (_, at) => ({ id: `${id}_${at}`, thread_id: id, type: 'user_message', content: [{ type: 'input_text', text: `message ${at} of ${n}` }], attachments: [] }));
    page.backend.threads.set(id, { id, title: `Chat ${n}`, created_at: '2026-11-20T12:00:00Z', status: n === 24 ? { type: 'locked', reason: 'It is under review.' } : { type: 'active' }, metadata: {}, list });
  }
  await signIn(page);
  await page.getByText('Earlier chats').click();
  const entries = page.locator('#thread-list button');
  await entries.first().waitFor();
  assert.equal(await entries.count(), 20);
  await page.getByRole('button', { name: 'Show more' }).click();
  await page.getByRole('button', { name: /^Chat 1 / }).waitFor();
  assert.equal(await entries.count(), 25);
  await page.getByRole('button', { name: /^Chat 25 / }).click();
  const shown = page.locator('#log article');
  await page.getByText('message 129 of 25', { exact: false }).waitFor();
  assert.equal(await shown.count(), 50);
  for (const count of [100, 130]) {
    await page.getByRole('button', { name: 'Show earlier messages' }).click();
    await page.waitForFunction((count) => document.querySelectorAll('#log article').length === count, count);
  }
  assert.deepEqual(await shown.evaluateAll((articles) => articles.map((article) => /\d+/.exec(article.textContent)[0])), Array.from({ length: 130 }, (_, at) => String(at)), 'in order, none twice');
  assert.equal(await page.getByRole('button', { name: 'Show earlier messages' }).count(), 0);

  await page.getByText('Earlier chats').click();
  await page.getByRole('button', { name: /^Chat 24 / }).click();
  await page.getByText('It is under review.').waitFor();
  assert.equal(await page.getByLabel('Message', { exact: true }).isDisabled(), true);

  page.once('dialog', (dialog) => dialog.dismiss());
  await page.getByRole('button', { name: 'Delete' }).click();
  assert.ok(page.backend.threads.has('thr_24'), 'it asks first');
  page.once('dialog', (dialog) => dialog.accept());
  await page.getByRole('button', { name: 'Delete' }).click();
  await page.locator('#thread-title').getByText('New chat').waitFor();
  assert.ok(!page.backend.threads.has('thr_24'));
  assert.equal(await page.getByLabel('Message', { exact: true }).isDisabled(), false);
});

test('the keyboard alone chats: Enter sends, Shift and Enter begins a line', async (t) => {
  const page = await openScripted(t);
  const field = page.getByLabel('Message', { exact: true });
  await field.waitFor(); // what is hidden takes no focus
  await field.focus();
  await page.keyboard.type('one');
  await page.keyboard.press('Shift+Enter');
  await page.keyboard.type('two');
  await page.keyboard.press('Enter');
  assert.equal(await answer(page), 'You said: one\ntwo');
  await page.keyboard.press('Enter');
  assert.equal(types(page).filter((type) => type === 'threads.add_user_message').length, 0, 'an empty message is none');
});
