// node make-keys.mjs OUT.json KID_PREFIX ALG...      one private key per ALG, kid = PREFIX-alg
// node make-keys.mjs --merge OUT.json IN.json...     the input sets, joined in that order
import { generateKeyPair } from 'node:crypto';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { promisify } from 'node:util';

// Synchronous generation has been seen to hang.
const generate = promisify(generateKeyPair);

const KEY_TYPES = {
  ES256: ['ec', { namedCurve: 'P-256' }],
  ES384: ['ec', { namedCurve: 'P-384' }],
  EdDSA: ['ed25519', {}],
};
for (const alg of ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512']) {
  KEY_TYPES[alg] = ['rsa', { modulusLength: 2048 }];
}

async function makeKey(prefix, alg) {
  if (!KEY_TYPES[alg]) {
    throw new Error(`unknown algorithm ${alg}, expected one of ${Object.keys(KEY_TYPES)}`);
  }
  const { privateKey } = await generate(...KEY_TYPES[alg]);
  return { ...privateKey.export({ format: 'jwk' }), kid: `${prefix}-${alg}`, use: 'sig', alg };
}

function writeSet(path, keys) {
  // Renamed into place so that a server reloading the file never reads half of it.
  const partial = `${path}.${process.pid}.tmp`;
  writeFileSync(partial, `${JSON.stringify({ keys }, null, 2)}\n`, { mode: 0o600 });
  renameSync(partial, path);
}

const args = process.argv.slice(2);
const merging = args[0] === '--merge';
const [out, ...rest] = merging ? args.slice(1) : args;

if (rest.length < (merging ? 1 : 2)) {
  console.error('usage: make-keys.mjs OUT.json KID_PREFIX ALG... | --merge OUT.json IN.json...');
  process.exit(2);
}
if (merging) {
  writeSet(out, rest.flatMap((path) => JSON.parse(readFileSync(path, 'utf8')).keys));
} else {
  const [prefix, ...algs] = rest;
  writeSet(out, await Promise.all(algs.map((alg) => makeKey(prefix, alg))));
}
