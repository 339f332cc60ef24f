// The sample page for the eye, the keyboard, a screen reader, a phone and the dark.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chatFrame, failureOf, signIn, signInAs, stepIs } from './support/browser.js';
import { words } from './support/backend.js';
import { calls, openDev } from './support/dev.js';
import { answer, attach, openScripted, say } from './support/selfhosted.js';

const PHONE = { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true };

test('the bubble opens a chat of its own, keeps it while closed, and gives the focus back', async (t) => {
  const page = await openDev(t, { viewport: { width: 1700, height: 900 } });
  await signIn(page);
  await chatFrame(page);
  await page.getByLabel('Bubble').check();
  assert.equal(await page.locator('#inline-chat').isVisible(), false);
  const bubble = page.locator('#bubble');
  await bubble.click();
  const frame = await chatFrame(page, '#bubble-chat');
  assert.equal(await bubble.getAttribute('aria-expanded'), 'true');
  await frame.evaluate(() => (window.mark = 'still here'));
  await page.getByRole('dialog', { name: 'Chat' }).getByRole('button', { name: 'Close the chat' }).click();
  assert.equal(await bubble.getAttribute('aria-expanded'), 'false');
  assert.ok(await bubble.evaluate((button) => button === document.activeElement));
  await bubble.click();
  assert.equal(await frame.evaluate(() => window.mark), 'still here', 'closing and opening does not load the frame anew');
  await page.getByLabel('Inline').check();
  assert.equal(await page.locator('#inline-chat').isVisible(), true);
  assert.equal(await page.getByRole('dialog').count(), 0);
  assert.deepEqual(calls(page), ['POST /dev/token', 'POST /api/chatkit/session', 'POST /api/chatkit/session'], 'each of the two has a session of its own');
});

test('chosen before signing in, the bubble is the only one that loads', async (t) => {
  const page = await openDev(t);
  await stepIs(page, 'widget', 'ok');
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByText('Your sessions have ended').waitFor();
  await page.getByLabel('Bubble').check();
  assert.equal(await page.locator('#bubble').isVisible(), false, 'there is nothing to open yet');
  page.calls.length = 0;
  await signInAs(page, 'grace');
  await page.getByText('Open the bubble').waitFor();
  await page.locator('#bubble').click();
  await stepIs(page, 'widget', 'ok');
  assert.equal(await page.locator('openai-chatkit').count(), 1);
  assert.deepEqual(calls(page), ['POST /dev/token', 'POST /api/chatkit/session']);
});

test('the keyboard alone signs in, switches to the bubble, opens and closes it, and signs out', async (t) => {
  const page = await openDev(t);
  await page.getByLabel('Your name').waitFor();
  await tabTo(page, '#dev-name');
  await page.keyboard.type('ada');
  await page.keyboard.press('Enter');
  await stepIs(page, 'widget', 'ok');
  assert.equal(await focused(page), '#sign-out', 'the focus does not fall to the top when the form goes');
  await tabTo(page, '[name=place]:checked');
  await page.keyboard.press('ArrowRight');
  assert.ok(await page.getByLabel('Bubble').isChecked());
  await tabTo(page, '#bubble');
  await page.keyboard.press('Enter');
  await page.getByRole('dialog', { name: 'Chat' }).waitFor();
  await page.keyboard.press('Escape');
  assert.equal(await page.getByRole('dialog').count(), 0);
  assert.equal(await focused(page), '#bubble');
  await tabTo(page, '#sign-out', 'Shift+Tab');
  await page.keyboard.press('Enter');
  await page.getByText('Your sessions have ended').waitFor();
  assert.equal(await focused(page), '#dev-name');
});

test('whatever has the focus shows it', async (t) => {
  const page = await openDev(t);
  await page.getByLabel('Your name').waitFor();
  const unseen = await page.evaluate(() => {
    const controls = [...document.querySelectorAll('a, button, input, summary')].filter((control) => control.checkVisibility());
    return controls.filter((control) => {
      control.focus({ focusVisible: true });
      const shown = control.matches('.switch input') ? control.nextElementSibling : control;
      return getComputedStyle(shown).outlineStyle === 'none';
    }).map((control) => control.outerHTML);
  });
  assert.deepEqual(unseen, []);
});

test('the first Tab offers to skip to the chat', async (t) => {
  const page = await openDev(t);
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  assert.equal(await focused(page), '#chat');
});

test('a screen reader finds landmarks, names for everything, and is told how each step ends', async (t) => {
  const page = await openDev(t, { env: { CHATKIT_WORKFLOW_ID: 'wf_missing' } });
  await signIn(page);
  await failureOf(page, 'session');
  for (const landmark of ['banner', 'main', 'contentinfo']) assert.equal(await page.getByRole(landmark).count(), 1, landmark);
  for (const name of ['Steps', 'The chat']) assert.equal(await page.getByRole('region', { name, exact: true }).count(), 1, name);
  assert.deepEqual(await page.getByRole('heading').allInnerTexts(), ['Does your set\u2011up work?', 'Steps', 'Who am I', 'Session minted', 'Widget loaded', 'The chat']);
  assert.equal(await page.getByRole('group', { name: 'Where the chat sits' }).count(), 1);
  const told = await page.getByRole('status').locator('p').allTextContents();
  assert.deepEqual(told, ['Who am I: OK. Signed in as ada.', 'Session minted: Failed. ', 'OpenAI refused to start the session.']);
  const ids = await page.evaluate(() => [...document.querySelectorAll('[id]')].map(({ id }) => id));
  assert.equal(new Set(ids).size, ids.length, 'ids are unique');
});

test('at the width of a phone nothing scrolls sideways, whatever is shown', async (t) => {
  for (const env of [{}, { CHATKIT_WORKFLOW_ID: 'wf_missing' }]) {
    const page = await openDev(t, { ...PHONE, env });
    await page.getByLabel('Your name').waitFor();
    assert.deepEqual(await tooWide(page), [], 'before signing in');
    await signIn(page, `a-name-without-any-place-to-break-${'x'.repeat(80)}`);
    await stepIs(page, env.CHATKIT_WORKFLOW_ID ? 'session' : 'widget', env.CHATKIT_WORKFLOW_ID ? 'failed' : 'ok');
    await page.getByText('The code behind it').click();
    await page.waitForFunction(() => document.getElementById('source-code').textContent);
    assert.deepEqual(await tooWide(page), [], `signed in, ${JSON.stringify(env)}`);
  }
});

test('on a phone the bubble fills the screen and can be closed', async (t) => {
  const page = await openDev(t, PHONE);
  await signIn(page);
  await page.getByLabel('Bubble').check();
  await page.locator('#bubble').tap();
  await chatFrame(page, '#bubble-chat');
  const box = await page.getByRole('dialog').boundingBox();
  assert.deepEqual(box, { x: 0, y: 0, width: 360, height: 740 });
  await page.getByRole('button', { name: 'Close the chat' }).tap();
  assert.equal(await page.getByRole('dialog').count(), 0);
});

test('the dark is passed on to the widget, and so is a change of mind', async (t) => {
  const page = await openDev(t, { colorScheme: 'dark' });
  const light = 'rgb(246, 246, 243)';
  const paper = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  assert.notEqual(await paper(), light);
  await signIn(page);
  const frame = await chatFrame(page);
  assert.equal(await frame.evaluate(() => window.options.theme.colorScheme), 'dark');
  await page.emulateMedia({ colorScheme: 'light' });
  await frame.waitForFunction(() => window.options.theme.colorScheme === 'light');
  assert.equal(await paper(), light);
  assert.deepEqual(calls(page), ['POST /dev/token', 'POST /api/chatkit/session'], 'a new theme costs no session');
});

for (const colorScheme of ['light', 'dark']) {
  test(`every text can be read in the ${colorScheme}: a contrast of 4.5 or more`, async (t) => {
    const page = await openDev(t, { colorScheme, env: { CHATKIT_WORKFLOW_ID: 'wf_missing' } });
    await page.getByLabel('Your name').waitFor();
    assert.deepEqual(await faint(page), []);
    await signIn(page);
    await failureOf(page, 'session');
    await page.getByText('The code behind it').click();
    assert.deepEqual(await faint(page), []);
  });
}

/** The text box with all that it can show at once. */
async function fullTextBox(t, settings) {
  const source = { type: 'url', title: 'A source', url: 'https://a.example/' };
  const page = await openScripted(t, {
    ...settings,
    script: {
      cite: ({ backend, thread }) => words(backend, thread, [`An answer with a word like ${'x'.repeat(120)}.`], [{ type: 'annotation', source }]),
      fail: async function* () {
        yield { type: 'notice', level: 'info', message: 'A notice.' };
        yield { type: 'error', code: 'stream.error', allow_retry: true };
      },
    },
  });
  await say(page, 'cite');
  await answer(page);
  await say(page, `fail ${'y'.repeat(120)}`);
  await page.getByRole('button', { name: 'Retry' }).waitFor();
  await attach(page, { name: `${'z'.repeat(80)}.txt`, mimeType: 'text/plain', buffer: Buffer.from('some words') });
  await page.getByRole('button', { name: /^Remove z/ }).waitFor();
  await page.getByText('Earlier chats').click();
  return page;
}

test('the text box fits a phone', async (t) => {
  assert.deepEqual(await tooWide(await fullTextBox(t, PHONE)), []);
});

for (const colorScheme of ['light', 'dark']) {
  test(`the text box can be read in the ${colorScheme}`, async (t) => {
    assert.deepEqual(await faint(await fullTextBox(t, { colorScheme })), []);
  });
}

test('in the text box everything has a name, shows its focus, and is told politely', async (t) => {
  const page = await fullTextBox(t);
  const controls = await page.locator('#text-chat').ariaSnapshot();
  for (const named of ['button "New chat"', 'button "Delete"', 'log "Conversation"', 'textbox "Message"', 'button "Attach a file"', 'button "Send"', 'button "Retry"', 'link "A source"']) {
    assert.ok(controls.includes(named), `${named} is missing in\n${controls}`);
  }
  assert.doesNotMatch(controls, /- (button|link|textbox)(:|$)/m, 'nothing is without a name');
  assert.equal(await page.getByRole('log').getAttribute('aria-live'), 'polite');
  assert.match(await page.getByRole('alert').innerText(), /The answer failed\./);
  const unseen = await page.evaluate(() => [...document.querySelectorAll('#text-chat :is(a, button, textarea, summary, [tabindex])')].filter((control) => {
    if (!control.checkVisibility() || control.disabled) return false;
    control.focus({ focusVisible: true });
    return getComputedStyle(control).outlineStyle === 'none';
  }).map((control) => control.outerHTML));
  assert.deepEqual(unseen, []);
});

async function tabTo(page, selector, key = 'Tab') {
  for (let presses = 0; presses < 20; presses += 1) {
    await page.keyboard.press(key);
    if (await page.evaluate((wanted) => document.activeElement.matches(wanted), selector)) return;
  }
  assert.fail(`${key} never reaches ${selector}`);
}

const focused = (page) => page.evaluate(() => `#${document.activeElement.id}`);

/** What reaches past the right edge, apart from what scrolls within its own box. */
const tooWide = (page) =>
  page.evaluate(() => {
    const width = document.documentElement.clientWidth;
    const isOut = (element) => element.checkVisibility() && !element.closest('pre, .unseen') && element.getBoundingClientRect().right > width + 0.5;
    const found = [...document.body.querySelectorAll('*')].filter(isOut).map((element) => element.outerHTML.slice(0, 80));
    return document.documentElement.scrollWidth > width ? [`the page is ${document.documentElement.scrollWidth} wide`, ...found] : found;
  });

/** The texts whose contrast with what is behind them is under 4.5 (WCAG 2.2, 1.4.3). */
const faint = (page) =>
  page.evaluate(() => {
    const parts = (colour) => colour.match(/[\d.]+/g).map(Number);
    const luminance = ([red, green, blue]) => {
      const linear = [red, green, blue].map((value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4));
      return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
    };
    const behind = (element) => {
      for (let at = element; at; at = at.parentElement) {
        const colour = parts(getComputedStyle(at).backgroundColor);
        if ((colour[3] ?? 1) === 1) return colour;
      }
      return [255, 255, 255];
    };
    const hasText = (element) => [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim());
    const found = [];
    for (const element of document.body.querySelectorAll('*')) {
      if (!hasText(element) || !element.checkVisibility() || element.closest('.unseen')) continue;
      const [a, b] = [luminance(parts(getComputedStyle(element).color)), luminance(behind(element))];
      const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
      if (contrast < 4.5) found.push(`${contrast.toFixed(2)}: ${element.textContent.trim().slice(0, 40)}`);
    }
    return found;
  });
