// Starts the real chatkit-server for a test and stops it afterwards.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

export const BINARY = process.env.CHATKIT_SERVER_BIN ?? fileURLToPath(new URL('../../../target/debug/chatkit-server', import.meta.url));
const START_MS = 15_000;
const STOP_MS = 5_000;

/** @type {Set<import('node:child_process').ChildProcess>} */
const running = new Set();
process.on('exit', () => running.forEach((child) => child.kill('SIGKILL')));

/** The service under `dev`, in front of its own stand-in for OpenAI. `stop` ends it before the test does. */
export const startDev = (t, env) => start(t, ['dev', '--mode', 'hosted', '--print-addr'], env);

/** The service under `dev` in self-hosted mode: the sandbox is its model. It works in `folder`. */
export const startSelfHosted = (t, env, folder) => start(t, ['dev', '--mode', 'self-hosted', '--print-addr'], env, folder);

/** The service as it runs in production, in front of a stand-in for OpenAI that is a process of its own. */
export async function startServe(t, env) {
  const sandbox = await start(t, ['sandbox', '--port', '0'], {});
  return start(t, ['serve', '--print-addr'], {
    HOST: '127.0.0.1',
    OPENAI_API_KEY: 'sk-browser-tests',
    CHATKIT_WORKFLOW_ID: 'wf_browser_tests',
    CHATKIT_API_BASE: sandbox.origin,
    ...env,
  });
}

async function start(t, args, env, cwd) {
  const child = spawn(BINARY, args, {
    env: { PATH: process.env.PATH, PORT: '0', RUST_LOG: 'warn', ...env },
    cwd,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  running.add(child);
  let log = '';
  child.stderr.on('data', (chunk) => (log += chunk));
  const stop = () => end(child);
  t.after(stop);
  const port = await listening(child, () => log);
  return { origin: `http://127.0.0.1:${port}`, stop };
}

function listening(child, log) {
  return new Promise((resolve, reject) => {
    const fail = (why) => reject(new Error(`chatkit-server ${why}\n${log()}`));
    const timer = setTimeout(fail, START_MS, 'did not say where it listens');
    child.once('error', (error) => fail(`did not start: ${error.message}`));
    child.once('exit', (code) => fail(`ended with ${code} before it listened`));
    createInterface({ input: child.stdout }).on('line', (line) => {
      const port = /(?:127\.0\.0\.1|localhost):(\d+)/.exec(line)?.[1];
      if (!port) return;
      clearTimeout(timer);
      resolve(port);
    });
  });
}

async function end(child) {
  if (child.exitCode === null && child.signalCode === null) {
    const gone = once(child, 'exit');
    child.kill('SIGTERM');
    const hard = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
    await gone;
    clearTimeout(hard);
  }
  running.delete(child);
}
