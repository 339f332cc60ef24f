// The scripts of the page, checked against the types that OpenAI publishes for ChatKit.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
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
  const script = await readFile(`${here}../../static/sample.js`, 'utf8');
  const steps = await readFile(`${here}../../static/steps.js`, 'utf8');
  await writeFile(`${folder}/sample.js`, script.replace('greeting:', 'greting:'));
  await writeFile(`${folder}/steps.js`, steps);
  await writeFile(`${folder}/tsconfig.json`, JSON.stringify({ extends: '../tsconfig.json', files: ['sample.js', '../node_modules/@openai/chatkit/types/dom-augment.d.ts'] }));
  assert.match(await check(folder), /greting/);
});
