// The code blocks of the README.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';

const readme = await readFile(new URL('../../../README.md', import.meta.url), 'utf8');

/** The first code block of the README that holds these texts. */
export function snippet(...texts) {
  const blocks = [...readme.matchAll(/```\w*\n([\s\S]*?)```/g)].map(([, code]) => code);
  const found = blocks.find((code) => texts.every((text) => code.includes(text)));
  assert.ok(found, `the README has a snippet with ${texts.join(' and ')}`);
  return found;
}
