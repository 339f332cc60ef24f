// The README's React components in a fresh Vite project, built as the template react-ts of create-vite builds.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { snippet } from './support/readme.js';

/** Where the packages of the template are installed: a project in here finds them above it. */
const home = fileURLToPath(new URL('./vite-app/', import.meta.url));
const page = fileURLToPath(new URL('../../static/', import.meta.url));
const run = promisify(execFile);

/** A project as create-vite makes it, whose page is a component of the README's. */
async function freshProject(t, code) {
  const folder = await mkdtemp(`${home}.app-`);
  t.after(() => rm(folder, { recursive: true }));
  const name = folder.slice(home.length);
  await run(process.execPath, [`${home}node_modules/create-vite/index.js`, name, '--template', 'react-ts', '--no-interactive', '--overwrite'], { cwd: home });
  await writeFile(`${folder}/src/Chat.tsx`, code);
  await writeFile(`${folder}/src/sign-in.ts`, 'export const getUserToken = async () => "the JWT of whoever is signed in";\n');
  const props = code.includes('userToken: string') ? ' userToken="the JWT of whoever is signed in"' : '';
  await writeFile(`${folder}/src/App.tsx`, `import { Chat } from "./Chat";\n\nexport default function App() {\n  return <Chat${props} />;\n}\n`);
  return folder;
}

/** Copies what the README says to copy. */
async function copyFetch(folder) {
  for (const name of ['chatkit-fetch.js', 'chatkit-fetch.d.ts']) await cp(`${page}${name}`, `${folder}/src/${name}`);
}

/** What `npm run build` complains of: nothing when it builds. */
const complaints = (folder) => run('npm', ['run', 'build'], { cwd: folder, timeout: 120_000 }).then(() => '', (failure) => failure.stdout + failure.stderr);

/** Sets a compiler option beside those of the template. */
async function withOption(folder, option) {
  const file = `${folder}/tsconfig.app.json`;
  const config = await readFile(file, 'utf8');
  const changed = config.replace('"compilerOptions": {', `"compilerOptions": {\n    "${option}": true,`);
  assert.notEqual(changed, config);
  await writeFile(file, changed);
}

const major = (version) => /\d+/.exec(version)?.[0];

test('the packages that are installed here are those of the template', async (t) => {
  const folder = await freshProject(t, '');
  const [template, ours] = await Promise.all([folder, home].map(async (at) => JSON.parse(await readFile(`${at}/package.json`, 'utf8'))));
  for (const kind of ['dependencies', 'devDependencies']) {
    for (const [name, wanted] of Object.entries(template[kind])) assert.equal(major(ours[kind][name]), major(wanted), name);
  }
});

test('the React component of the README builds in a fresh Vite project', async (t) => {
  const folder = await freshProject(t, snippet('useChatKit', 'chatkitFetch'));
  await copyFetch(folder);
  assert.equal(await complaints(folder), '');
});

test('it builds under exactOptionalPropertyTypes too, and so does every setting that is given as undefined', async (t) => {
  const folder = await freshProject(t, snippet('useChatKit', 'chatkitFetch'));
  await copyFetch(folder);
  await withOption(folder, 'exactOptionalPropertyTypes');
  await writeFile(`${folder}/src/settings.ts`, `
    import { chatkitFetch, type Session, type Settings } from "./chatkit-fetch.js";
    const session: Session = { client_secret: "s" };
    const settings: Required<Settings> = {
      url: undefined, sessionUrl: undefined, refreshUrl: undefined, getHeaders: undefined, body: undefined,
      credentials: undefined, getSession: undefined, refreshBefore: undefined, timeout: undefined, fetch: undefined,
    };
    export const all = [chatkitFetch(), chatkitFetch(settings), chatkitFetch({ getSession: async () => session })];
  `);
  assert.equal(await complaints(folder), '');
});

test('a misspelt setting is found', async (t) => {
  const code = snippet('useChatKit', 'chatkitFetch');
  const folder = await freshProject(t, code.replace('getHeaders:', 'getHeader:'));
  await copyFetch(folder);
  assert.match(await complaints(folder), /'getHeader' does not exist in type 'Settings'/);
});

test('chatkit-fetch.js itself passes the strictest checks of TypeScript', async (t) => {
  const folder = await freshProject(t, snippet('useChatKit', 'chatkitFetch'));
  await cp(`${page}chatkit-fetch.js`, `${folder}/src/chatkit-fetch.js`);
  for (const option of ['exactOptionalPropertyTypes', 'checkJs', 'allowJs']) await withOption(folder, option);
  assert.equal(await complaints(folder), '');
});

test('the types beside chatkit-fetch.js are those that the file itself says', async (t) => {
  const folder = await freshProject(t, snippet('useChatKit', 'chatkitFetch'));
  await copyFetch(folder);
  await cp(`${page}chatkit-fetch.js`, `${folder}/src/alone.js`);
  await withOption(folder, 'allowJs');
  await writeFile(`${folder}/src/same.ts`, `
    import * as alone from "./alone.js";
    import * as typed from "./chatkit-fetch.js";
    type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
    type Flat<A> = { [Name in keyof A]: A[Name] };
    export const settings: Same<Flat<alone.Settings>, Flat<typed.Settings>> = true;
    export const session: Same<Flat<alone.Session>, Flat<typed.Session>> = true;
    export const functions: Same<typeof alone.chatkitFetch, typeof typed.chatkitFetch> = true;
  `);
  assert.equal(await complaints(folder), '');
});

test('the hosted React component of the README builds in a fresh Vite project', async (t) => {
  const folder = await freshProject(t, snippet('useChatKit', 'getClientSecret'));
  assert.equal(await complaints(folder), '');
});
