// User tokens as a site would sign them.

import { createHmac } from 'node:crypto';

export const JWT_SECRET = 'a-secret-of-the-browser-tests-0123456789';

/** An HS256 token whose life ends in so many seconds. */
export function jwt(sub, seconds, secret = JWT_SECRET) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const signed = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ sub, exp: Math.floor(Date.now() / 1000) + seconds })}`;
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`;
}
