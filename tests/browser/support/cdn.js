// A stand-in for OpenAI's CDN: a chatkit.js and a frame that behave towards the page as the real ones do.
//
// The script defines <openai-chatkit> (see standin.js), with the absolute address of the frame written into it; the
// frame's own script lies under /assets/ck1/.

import { once } from 'node:events';
import { createServer } from 'node:http';
import { FRAME, frame, loader } from './standin.js';

/** `behaviour` may be changed at any time: "works", "missing", "hangs", "defines nothing", "silent frame". */
export async function startCdn(t) {
  const cdn = { behaviour: 'works', origin: '', scriptRequests: 0 };
  const server = createServer((request, response) => answer(cdn, request, response));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  cdn.origin = `http://127.0.0.1:${server.address().port}`;
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return cdn;
}

function answer(cdn, request, response) {
  const { pathname } = new URL(request.url, cdn.origin);
  const send = (type, body) => response.writeHead(200, { 'content-type': `${type}; charset=utf-8` }).end(body);
  if (pathname === '/deployments/chatkit/chatkit.js') {
    cdn.scriptRequests += 1;
    if (cdn.behaviour === 'hangs') return;
    if (cdn.behaviour === 'defines nothing') return send('text/javascript', 'void 0;');
    if (cdn.behaviour !== 'missing') return send('text/javascript', `(${loader})(${JSON.stringify(`${cdn.origin}/deployments/chatkit/index-standin.html`)});`);
  }
  if (pathname === '/deployments/chatkit/index-standin.html') {
    return send('text/html', cdn.behaviour === 'silent frame' ? '<!doctype html>' : FRAME);
  }
  if (pathname === '/assets/ck1/standin.js') return send('text/javascript', `(${frame})();`);
  response.writeHead(404).end();
}
