// @ts-check
// How chatkit.js gets into the page, and why it doesn't.

import { send } from './requests.js';
import { Failure } from './steps.js';

/** How long it may take, in milliseconds. */
const DEADLINE = 15_000;

/** @type {SecurityPolicyViolationEvent[]} */ const violations = [];
document.addEventListener('securitypolicyviolation', (event) => violations.push(event));

/** Adds the script to the page. @param {string} url @returns {Promise<unknown>} */
export function loadScript(url) {
  const tag = Object.assign(document.createElement('script'), { async: true, src: url });
  const loaded = new Promise((resolve, reject) => {
    tag.onload = resolve;
    tag.onerror = () => setTimeout(async () => reject(await whyNoScript(url))); // after the CSP has reported
  });
  document.head.append(tag);
  return Promise.race([loaded, tooLate(DEADLINE, 'script_timeout')]);
}

/** A script element does not say why it failed: the CSP's report and, where the script is ours, the server do. @param {string} url */
async function whyNoScript(url) {
  const { origin, href } = new URL(url, location.href);
  const isCsp = violations.some((seen) => seen.effectiveDirective.startsWith('script-src') && seen.blockedURI.startsWith(origin));
  if (isCsp) return new Failure('script_csp');
  const blocked = new Failure('script_blocked');
  if (origin !== location.origin) return blocked;
  return send('GET', href).then(() => blocked, (failure) => new Failure('script_proxy', failure.facts));
}

/** @param {number} ms @param {string} code @returns {Promise<never>} */
export const tooLate = (ms, code) => new Promise((_, reject) => setTimeout(reject, ms, new Failure(code)));
