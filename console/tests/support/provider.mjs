/**
 * An OpenID Connect provider for tests: the certified library `oidc-provider`, with a login page for anybody.
 *
 *   node provider.mjs CLIENT_ID CLIENT_SECRET REDIRECT_URI
 *
 * Prints `provider http://127.0.0.1:PORT`. Whoever logs in as NAME:GROUP,GROUP has that name and these groups. `POST /faults?kind=KIND`
 * makes it tell a lie in the ID tokens from then on (`none` = the truth again), or give out codes that live for a second.
 */

import { generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const [clientId, clientSecret, redirectUri] = process.argv.slice(2);

const newKey = () => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
const key = newKey();
const own = { ...key.export({ format: 'jwk' }), kid: 'own', alg: 'ES256', use: 'sig' };

let fault = 'none';

const base64 = (value) => Buffer.from(value).toString('base64url');

/** The same claims but for some, signed by `signer`. */
function forged(token, change, signer = key, head = {}) {
  const [header, claims] = token.split('.').slice(0, 2).map((part) => JSON.parse(Buffer.from(part, 'base64url').toString()));
  const text = [{ ...header, ...head }, { ...claims, ...change }].map((part) => base64(JSON.stringify(part))).join('.');
  const signature = signer ? sign('sha256', Buffer.from(text), { key: signer, dsaEncoding: 'ieee-p1363' }) : '';
  return `${text}.${base64(signature)}`;
}

const past = () => Math.floor(Date.now() / 1000) - 3600;

const LIES = {
  nonce: (token) => forged(token, { nonce: 'of another login' }),
  audience: (token) => forged(token, { aud: 'another-client' }),
  audiences: (token) => forged(token, { aud: [clientId, 'another-client'], azp: 'another-client' }),
  issuer: (token) => forged(token, { iss: 'https://another.example' }),
  expired: (token) => forged(token, { iat: past() - 60, exp: past() }),
  signature: (token) => forged(token, {}, newKey()),
  unsigned: (token) => forged(token, {}, null, { alg: 'none' }),
  system: (token) => forged(token, { sub: 'system:admin' }),
};

const [name, groups] = [(id) => id.split(':')[0], (id) => (id.split(':')[1] ?? '').split(',').filter(Boolean)];

const server = createServer();
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: [{ client_id: clientId, client_secret: clientSecret, redirect_uris: [redirectUri], id_token_signed_response_alg: 'ES256' }],
    jwks: { keys: [own] },
    cookies: { keys: [randomBytes(16).toString('hex')] },
    pkce: { required: () => true },
    claims: { openid: ['sub', 'groups'] },
    conformIdTokenClaims: false,
    features: { devInteractions: { enabled: false } },
    ttl: { AuthorizationCode: () => (fault === 'code' ? 1 : 60), Session: 60, Interaction: 60, Grant: 60, IdToken: 60, AccessToken: 60 },
    interactions: { url: (_, interaction) => `/login/${interaction.uid}` },
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: name(id), groups: groups(id) }) }),
    loadExistingGrant: async (ctx) => {
      const grant = new ctx.oidc.provider.Grant({ clientId, accountId: ctx.oidc.session.accountId });
      grant.addOIDCScope('openid');
      grant.addOIDCClaims(['sub', 'groups']);
      await grant.save();
      return grant;
    },
  });
  provider.use(async (ctx, next) => {
    if (ctx.path === '/favicon.ico') {
      ctx.status = 204;
    } else if (ctx.path === '/faults' && ctx.method === 'POST') {
      fault = ctx.query.kind;
      ctx.status = 204;
    } else if (ctx.path.startsWith('/login/') && ctx.method === 'GET') {
      ctx.type = 'html';
      ctx.body = '<!doctype html><html lang="en"><title>Provider</title><form method="post"><label>Who are you? <input name="user" autofocus></label><button>Sign in</button></form>';
    } else if (ctx.path.startsWith('/login/') && ctx.method === 'POST') {
      let body = '';
      for await (const chunk of ctx.req) body += chunk;
      ctx.respond = false;
      await provider.interactionFinished(ctx.req, ctx.res, { login: { accountId: new URLSearchParams(body).get('user') } });
    } else {
      await next();
      if (ctx.path === '/token' && ctx.body?.id_token && LIES[fault]) ctx.body.id_token = LIES[fault](ctx.body.id_token);
    }
  });
  server.on('request', provider.callback());
  console.log(`provider ${issuer}`);
});
