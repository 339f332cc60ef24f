// The sample page of a fresh server under `dev`, with the stand-in for the CDN.

import { openPage } from './browser.js';
import { startCdn } from './cdn.js';
import { startDev } from './server.js';

/** The page, with `calls` (what it asked of the API since it was loaded), `server` and `cdn` at hand. */
export async function openDev(t, { env = {}, behaviour = 'works', prepare = async () => {}, ...settings } = {}) {
  const cdn = Object.assign(await startCdn(t), { behaviour });
  const server = await startDev(t, { CHATKIT_CDN_BASE: cdn.origin, ...env });
  const requests = [];
  // It signs in as it loads.
  const listen = async (page) => {
    page.on('request', (request) => {
      const { pathname } = new URL(request.url());
      if (!/^\/(api|dev)\//.test(pathname) || /\/(config|assets\/.*)$/.test(pathname)) return;
      requests.push({ call: `${request.method()} ${pathname}`, body: request.postDataJSON(), headers: request.headers() });
    });
    await prepare(page);
  };
  const page = await openPage(t, server.origin, { ...settings, prepare: listen });
  return Object.assign(page, { calls: requests, server, cdn });
}

/** Method and path of each call, in order. */
export const calls = (page) => page.calls.map(({ call }) => call);
