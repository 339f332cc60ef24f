// The scripts of the page, checked against the types that OpenAI publishes for ChatKit.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const here = fileURLToPath(new URL('.', import.meta.url));
const run = promisify(execFile);
const check = (project) => run(process.execPath, [`${here}node_modules/typescript/bin/tsc`, '-p', project], { timeout: 60_000 }).then(() => '', (failure) => failure.stdout);

test('the scripts of the page fit the types of @openai/chatkit', async () => {
  assert.equal(await check(here), '');
});

test('a misspelt option would be found', async (t) => {
  const folder = await mkdtemp(`${here}.types-`);
  t.after(() => rm(folder, { recursive: true }));
  for (const name of (await readdir(`${here}../../static`)).filter((name) => name.endsWith('.js'))) {
    const script = await readFile(`${here}../../static/${name}`, 'utf8');
    await writeFile(`${folder}/${name}`, script.replace('greeting:', 'greting:').replace("history: { enabled", "history: { enable"));
  }
  await writeFile(`${folder}/tsconfig.json`, JSON.stringify({ extends: '../tsconfig.json', files: ['sample.js', '../node_modules/@openai/chatkit/types/dom-augment.d.ts'] }));
  const complaints = await check(folder);
  for (const misspelt of [/greting/, /enable\b/]) assert.match(complaints, misspelt);
});
