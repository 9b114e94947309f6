// node mock-server.mjs PORT CONTROL_PORT
//
// An issuer that misbehaves on demand. It authenticates no client. Control requests:
//   POST /set     {claims, header, response, lifetime, expires_in}   replaces earlier settings
//   POST /fail    {count, status, body, headers}                     the next COUNT token responses
//   POST /rotate  {keep_old, alg, kid}                               a new key signs
//   GET  /counts                                                     {token, jwks, discovery}
// In claims, header, response and expires_in, null removes the member.
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { JWKStore, OAuth2Issuer, OAuth2Service } from 'oauth2-mock-server';

const HOST = '127.0.0.1';
const COUNTED = {
  '/token': 'token',
  '/jwks': 'jwks',
  '/.well-known/openid-configuration': 'discovery',
};

const [port, controlPort] = process.argv.slice(2);
if (!port || !controlPort) {
  console.error('usage: mock-server.mjs PORT CONTROL_PORT');
  process.exit(2);
}

// The library takes its keys in turn; a rotation needs the newest one to sign.
class NewestKeyIssuer extends OAuth2Issuer {
  async buildToken(options) {
    return super.buildToken({ ...options, kid: this.signingKid });
  }
}

const counts = { token: 0, jwks: 0, discovery: 0 };
let settings = {};
let fault = { count: 0 };
let keys = [];
let service;

function patch(target, members = {}) {
  for (const [name, value] of Object.entries(members)) {
    if (value === null) {
      delete target[name];
    } else {
      target[name] = value;
    }
  }
}

function onToken({ header, payload }) {
  if (settings.lifetime !== undefined) {
    payload.exp = payload.iat + settings.lifetime;
  }
  patch(payload, settings.claims);
  patch(header, settings.header);
}

function onResponse({ body }) {
  if (settings.lifetime !== undefined) {
    body.expires_in = settings.lifetime;
  }
  if (settings.expires_in !== undefined) {
    patch(body, { expires_in: settings.expires_in });
  }
  patch(body, settings.response);
}

async function rotate({ keep_old: keepOld = false, alg = 'RS256', kid = randomUUID() } = {}) {
  const key = await new JWKStore().generate(alg, { kid });
  keys = keepOld ? [key, ...keys] : [key];
  // Built anew each time, as the library's store cannot forget a key.
  const issuer = new NewestKeyIssuer();
  issuer.url = `http://${HOST}:${port}`;
  issuer.signingKid = kid;
  for (const listed of keys) {
    await issuer.keys.add(listed);
  }
  service = new OAuth2Service(issuer);
  service.on('beforeTokenSigning', onToken);
  service.on('beforeResponse', onResponse);
  return { kids: keys.map((listed) => listed.kid) };
}

function sendFault(res) {
  fault.count -= 1;
  const { status = 500, body = '', headers = {} } = fault;
  const isText = typeof body === 'string';
  res.writeHead(status, isText ? headers : { 'content-type': 'application/json', ...headers });
  res.end(isText ? body : JSON.stringify(body));
}

const control = {
  'POST /set': (body) => {
    settings = body;
    return settings;
  },
  'POST /fail': (body) => {
    fault = { count: 1, ...body };
    return fault;
  },
  'POST /rotate': rotate,
  'GET /counts': () => counts,
};

async function handleControl(req, res) {
  const reply = (status, body) => {
    res.writeHead(status, { 'content-type': 'application/json' });
    res.end(JSON.stringify(body));
  };
  const action = control[`${req.method} ${req.url}`];
  if (!action) {
    reply(404, { error: 'no such action' });
    return;
  }
  try {
    const chunks = await req.toArray();
    reply(200, await action(JSON.parse(Buffer.concat(chunks).toString() || '{}')));
  } catch (error) {
    reply(400, { error: String(error) });
  }
}

function handle(req, res) {
  const endpoint = COUNTED[req.url.split('?')[0]];
  if (endpoint) {
    counts[endpoint] += 1;
  }
  if (endpoint === 'token' && fault.count > 0) {
    sendFault(res);
  } else {
    service.requestHandler(req, res);
  }
}

const listen = (handler, at) =>
  new Promise((resolve, reject) => {
    createServer(handler).once('error', reject).listen(Number(at), HOST, resolve);
  });

await rotate();
await listen(handle, port);
await listen(handleControl, controlPort);
console.log('ready');
