// The README's snippets, run as they stand there but for the addresses and the credential.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

import { openPage } from './support/browser.js';
import { startCdn } from './support/cdn.js';
import { snippet } from './support/readme.js';
import { startFresh } from './support/selfhosted.js';
import { BINARY, startDev, startServe } from './support/server.js';

const FETCH = fileURLToPath(new URL('../../static/chatkit-fetch.js', import.meta.url));

/** A site on an origin of its own: a page, whose text is set once the origin is known, and a copy of chatkit-fetch.js. */
async function otherSite(t) {
  const site = { html: '', origin: '' };
  const script = await readFile(FETCH, 'utf8');
  const server = createServer(({ url }, response) => {
    const [type, text] = url === '/chatkit-fetch.js' ? ['text/javascript', script] : ['text/html', site.html];
    response.writeHead(200, { 'content-type': `${type}; charset=utf-8` }).end(text);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  site.origin = `http://127.0.0.1:${server.address().port}`;
  return site;
}

/** A snippet of a page, with the addresses of a test and a token of Ada's. */
async function pageOf(code, cdn, server) {
  return code
    .replaceAll('https://cdn.platform.openai.com', cdn.origin)
    .replaceAll('https://chat.example.com', server.origin)
    .replace('the JWT that your site gave this user', await adasToken(server));
}

async function adasToken(server) {
  const answer = await fetch(`${server.origin}/dev/token`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"user":"ada"}' });
  return (await answer.json()).token;
}

/** A script that shows the `Chat` of a React snippet, with the sign-in that the snippet leaves to the site. */
async function reactScript(code, token) {
  const own = {
    name: 'the files of the site',
    setup({ onResolve, onLoad }) {
      onResolve({ filter: /chatkit-fetch\.js$/ }, () => ({ path: FETCH }));
      onResolve({ filter: /sign-in$/ }, () => ({ path: 'sign-in', namespace: 'site' }));
      onLoad({ filter: /./, namespace: 'site' }, () => ({ contents: `export const getUserToken = async () => ${JSON.stringify(token)};` }));
    },
  };
  const shown = `${code}\nimport { createRoot } from 'react-dom/client';\ncreateRoot(document.getElementById('root')).render(<Chat />);`;
  const { outputFiles } = await build({
    stdin: { contents: shown, loader: 'tsx', resolveDir: fileURLToPath(new URL('.', import.meta.url)) },
    plugins: [own],
    bundle: true,
    write: false,
    format: 'esm',
    jsx: 'automatic',
    define: { 'process.env.NODE_ENV': '"production"' },
    logLevel: 'error',
  });
  return outputFiles[0].text;
}

/** Has the page send a message, and waits for the answer in the widget. */
async function chat(page) {
  await page.waitForSelector('openai-chatkit[data-loaded="true"]');
  await page.evaluate(() => document.querySelector('openai-chatkit').sendUserMessage({ text: 'Hello from the README' }));
  const frame = page.frames().find((one) => one !== page.mainFrame());
  await frame.getByText('You said: "Hello from the README"').waitFor();
}

test('the self-hosted web component of the README chats from another origin', async (t) => {
  const cdn = await startCdn(t);
  const site = await otherSite(t);
  const server = await startFresh(t, { CORS_ALLOWED_ORIGINS: site.origin });
  site.html = await pageOf(snippet('<openai-chatkit', 'chatkitFetch'), cdn, server);
  const page = await openPage(t, 'about:blank');
  await page.goto(site.origin);
  await chat(page);
  assert.deepEqual(page.noise, []);
});

test('the self-hosted React component of the README chats from another origin', async (t) => {
  const cdn = await startCdn(t);
  const site = await otherSite(t);
  const server = await startFresh(t, { CORS_ALLOWED_ORIGINS: site.origin });
  const code = await pageOf(snippet('useChatKit', 'chatkitFetch'), cdn, server);
  const script = await reactScript(code, await adasToken(server));
  site.html = `<!doctype html><link rel="icon" href="data:,"><script src="${cdn.origin}/deployments/chatkit/chatkit.js" async></script><div id="root"></div><script type="module">${script.replaceAll('</script', '<\\/script')}</script>`;
  const page = await openPage(t, 'about:blank');
  await page.goto(site.origin);
  await chat(page);
  assert.deepEqual(page.noise, []);
});

test('the hosted web component of the README gets its session from another origin and loads', async (t) => {
  const cdn = await startCdn(t);
  const site = await otherSite(t);
  const server = await startDev(t, { CORS_ALLOWED_ORIGINS: site.origin });
  site.html = await pageOf(snippet('<openai-chatkit', 'getClientSecret'), cdn, server);
  const page = await openPage(t, 'about:blank');
  const minted = page.waitForResponse((response) => new URL(response.url()).pathname === '/api/chatkit/session' && response.request().method() === 'POST');
  await page.goto(site.origin);
  assert.equal((await minted).status(), 200);
  await page.waitForSelector('openai-chatkit[data-loaded="true"]');
  assert.deepEqual(page.noise, []);
});

test('the server of the README mints for the user that it names', async (t) => {
  const printed = execFileSync(BINARY, ['service-token', '--id', 'shop'], { encoding: 'utf8' });
  const [token] = /cks_\S+/.exec(printed);
  const [entry] = /shop:[0-9a-f]{64}/.exec(printed);
  const server = await startServe(t, { SERVICE_TOKENS: entry });
  const routes = {};
  const app = { post: (path, _, handler) => (routes[path] = handler) };
  const code = snippet('app.post(').replaceAll('https://chat.example.com', server.origin);
  new Function('app', 'requireLogin', 'process', code)(app, () => {}, { env: { CHATKIT_SERVICE_TOKEN: token } });
  const res = { status: (code) => Object.assign(res, { code }), json: (body) => Object.assign(res, { body }) };
  await routes['/chat-secret']({ user: { id: 'ada' } }, res);
  assert.equal(res.code, 200);
  assert.match(res.body.client_secret, /^ek_/);
});
