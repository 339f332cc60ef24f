// A real Chromium, and the sample page in it.

import { after, before } from 'node:test';
import assert from 'node:assert/strict';
import { chromium } from 'playwright-core';

const ARGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];
const STEP_MS = 15_000;

let browser;
before(async () => {
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', headless: true, args: ARGS, timeout: 30_000 });
});
after(() => browser?.close());

/** Opens the page. `noise` collects what the console and the Content-Security-Policy complain of; `prepare` runs before it loads. */
export async function openPage(t, url, { prepare = async () => {}, ...settings } = {}) {
  const context = await browser.newContext({ viewport: { width: 1120, height: 900 }, ...settings });
  t.after(() => context.close());
  const page = await context.newPage();
  page.setDefaultTimeout(STEP_MS);
  page.setDefaultNavigationTimeout(STEP_MS);
  page.noise = [];
  page.on('console', (message) => ['error', 'warning'].includes(message.type()) && page.noise.push(message.text()));
  page.on('pageerror', (error) => page.noise.push(String(error)));
  await prepare(page);
  await page.goto(url);
  return page;
}

/** Waits until a step is in a state, and says what the page shows where it is not. */
export async function stepIs(page, id, state) {
  try {
    await page.locator(`#${id}[data-state="${state}"]`).waitFor();
  } catch {
    assert.fail(`step ${id} should be ${state}; the page shows:\n${await page.locator('.steps').innerText()}`);
  }
}

/** The texts of a failed step. */
export async function failureOf(page, id) {
  await stepIs(page, id, 'failed');
  const text = async (name) => {
    const part = page.locator(`#${id} .${name}`);
    return (await part.count()) ? part.innerText() : null;
  };
  return {
    cause: await text('cause'),
    remedy: await text('remedy'),
    says: await text('says'),
    answer: await text('answer'),
    requestId: await text('request-id'),
  };
}

/** Waits until the page has signed in as ada, as it does by itself, or signs in by another name. */
export async function signIn(page, name = 'ada') {
  if (name === 'ada') return stepIs(page, 'who', 'ok');
  await signInAs(page, name);
}

/** Signs in by name, whoever is signed in. */
export async function signInAs(page, name) {
  await page.getByLabel('Your name').fill(name);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.locator('#who .detail').getByText(`Signed in as ${name}.`).waitFor();
}

/** The widget's frame, once it has its secret. */
export async function chatFrame(page, holder = '#inline-chat') {
  const handle = await page.locator(`${holder} openai-chatkit iframe`).elementHandle();
  const frame = await handle.contentFrame();
  await frame.waitForFunction(() => window.secret, null, { timeout: STEP_MS });
  return frame;
}
