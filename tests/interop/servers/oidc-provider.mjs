// node oidc-provider.mjs PORT JWKS_FILE
//
// JWKS_FILE is a set of private keys. The provider signs with the first listed key of
// the wanted algorithm, so the order in the file says what a rotation does:
//   publish [old, new]    switch [new, old]    drop [new]    hard [other keys only]
// Rename a new file into place and send SIGHUP; `generation` in /__counts goes up once it
// is served. Wait for that before the next SIGHUP, as signals sent together may merge.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';

// stdout carries only `ready`; the provider's notices go to stderr.
console.info = console.error;
const { Provider, errors } = await import('oidc-provider');

const HOST = '127.0.0.1';
const SCOPE = 'api/read api/write';
const DEFAULT_TTL_SECONDS = 300;
const COUNTED = {
  '/token': 'token',
  '/jwks': 'jwks',
  '/.well-known/openid-configuration': 'discovery',
};

const CLIENTS = [
  ['svc-basic', 'basic-secret-0123456789abcdef', 'client_secret_basic'],
  ['svc-post', 'post-secret-0123456789abcdef', 'client_secret_post'],
  // Passes only when the Basic credentials are form-encoded first (RFC 6749, 2.3.1).
  ['svc:special+id', 'p@ss:w/rd+%20&=?~', 'client_secret_basic'],
];

const [port, jwksFile] = process.argv.slice(2);
if (!port || !jwksFile) {
  console.error('usage: oidc-provider.mjs PORT JWKS_FILE');
  process.exit(2);
}

/** Reads `/ALG`, `/ttl/SECONDS` and `/opaque` from a resource URL, in any order. */
function resourceServer(resource, algs) {
  const info = {
    audience: resource,
    scope: SCOPE,
    accessTokenTTL: DEFAULT_TTL_SECONDS,
    accessTokenFormat: 'jwt',
    jwt: { sign: { alg: algs[0] } },
  };
  const words = new URL(resource).pathname.split('/').filter(Boolean);
  while (words.length > 0) {
    const word = words.shift();
    if (word === 'opaque') {
      info.accessTokenFormat = 'opaque';
    } else if (word === 'ttl' && /^[1-9]\d*$/.test(words[0])) {
      info.accessTokenTTL = Number(words.shift());
    } else if (algs.includes(word)) {
      info.jwt.sign.alg = word;
    } else {
      // A mistyped resource must not fall back to defaults unseen.
      throw new errors.InvalidTarget();
    }
  }
  return info;
}

function buildHandler() {
  const jwks = JSON.parse(readFileSync(jwksFile, 'utf8'));
  const algs = jwks.keys.map((key) => key.alg);
  const provider = new Provider(`http://${HOST}:${port}`, {
    jwks,
    scopes: SCOPE.split(' '),
    clients: CLIENTS.map(([id, secret, method]) => ({
      client_id: id,
      client_secret: secret,
      token_endpoint_auth_method: method,
      grant_types: ['client_credentials'],
      response_types: [],
      redirect_uris: [],
    })),
    // Clients are refused when their ID token algorithm, RS256 unless told, has no key.
    enabledJWA: { idTokenSigningAlgValues: [...new Set(algs)] },
    clientDefaults: { id_token_signed_response_alg: algs[0] },
    cookies: { keys: ['unused'] },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_ctx, resource) => resourceServer(resource, algs),
      },
    },
  });
  return provider.callback();
}

const counts = { token: 0, jwks: 0, discovery: 0 };
let generation = 1;
let handler = buildHandler();

// A broken key file ends the process: a rotation that did not happen must be seen.
process.on('SIGHUP', () => {
  handler = buildHandler();
  generation += 1;
});

const server = createServer((req, res) => {
  const path = req.url.split('?')[0];
  if (path === '/__counts') {
    res.setHeader('content-type', 'application/json');
    res.end(JSON.stringify({ ...counts, generation }));
    return;
  }
  if (COUNTED[path]) {
    counts[COUNTED[path]] += 1;
  }
  handler(req, res);
});
server.listen(Number(port), HOST, () => console.log('ready'));
