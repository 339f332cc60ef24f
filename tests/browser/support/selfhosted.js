// The sample page in self-hosted mode, its text box open.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startBackend } from './backend.js';
import { openPage, signIn } from './browser.js';
import { startCdn } from './cdn.js';
import { startDev, startSelfHosted } from './server.js';

/** The real page in front of the stand-in for the protocol. */
export async function openScripted(t, { script, behaviour = 'missing', hash = '#textbox', name = 'ada', ...settings } = {}) {
  const cdn = Object.assign(await startCdn(t), { behaviour });
  const server = await startDev(t, { CHATKIT_CDN_BASE: cdn.origin });
  const backend = await startBackend(t, { front: server.origin, script });
  const page = await openPage(t, `${backend.origin}/${hash}`, settings);
  if (name) await signIn(page, name);
  return Object.assign(page, { backend, cdn });
}

/** The real server under `dev`, with a database and files of its own. */
export async function startFresh(t, env = {}) {
  const folder = await mkdtemp(join(tmpdir(), 'chatkit-browser-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const server = await startSelfHosted(t, {
    DATABASE_URL: `sqlite://${folder}/chatkit.db`,
    CHATKIT_UPLOADS_DIR: `${folder}/uploads`,
    CHATKIT_FILE_UPLOAD: 'on',
    ...env,
  }, folder);
  return Object.assign(server, { folder });
}

/** Writes a message and sends it. */
export async function say(page, words) {
  await page.getByLabel('Message', { exact: true }).fill(words);
  await page.getByRole('button', { name: 'Send', exact: true }).click();
}

/** Picks files as a person does: by the button, which is there once somebody is signed in. */
export async function attach(page, files) {
  const chooser = page.waitForEvent('filechooser');
  await page.getByRole('button', { name: 'Attach a file' }).click();
  await (await chooser).setFiles(files);
}

/** The last answer, once the turn is over. */
export async function answer(page) {
  await idle(page);
  return page.locator('#log .assistant-message .words').last().innerText();
}

/** Waits until nothing runs. */
export const idle = (page) => page.locator('#log[aria-busy="false"]').waitFor();
