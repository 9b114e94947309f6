// One verifier of Node.js: `node peer.mjs NAME FIXTURE`, then a command a line on stdin.
//
//   check    accepts every good token and refuses the forged one? "ok", or what went wrong
//   run N    verifies N tokens, answers the CPU time of the process in nanoseconds

import { createPublicKey } from "node:crypto";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

const [name, path] = process.argv.slice(2);
const { algorithm, issuer, audience, pool, client, jwks, tokens, forged } = JSON.parse(
  readFileSync(path, "utf8"),
);

const verifiers = {
  async "aws-jwt-verify"() {
    const { JwtVerifier } = await import("aws-jwt-verify");
    const verifier = JwtVerifier.create({ issuer, audience });
    verifier.cacheJwks(jwks);
    return (token) => verifier.verifySync(token);
  },
  async "aws-jwt-verify-cognito"() {
    const { CognitoJwtVerifier } = await import("aws-jwt-verify");
    const rules = { userPoolId: pool, tokenUse: "access", clientId: client };
    const verifier = CognitoJwtVerifier.create(rules);
    verifier.cacheJwks(jwks);
    return (token) => verifier.verifySync(token);
  },
  "fast-jwt": () => fastJwt({ cache: false }),
  "fast-jwt-cache": () => fastJwt({ cache: 4 * tokens.length }),
  async jose() {
    const { createLocalJWKSet, jwtVerify } = await import("jose");
    const keys = createLocalJWKSet(jwks);
    const rules = { issuer, audience, algorithms: [algorithm] };
    return (token) => jwtVerify(token, keys, rules);
  },
};

async function fastJwt(options) {
  const { createVerifier } = await import("fast-jwt");
  const key = createPublicKey({ key: jwks.keys[0], format: "jwk" });
  return createVerifier({
    key: key.export({ type: "spki", format: "pem" }),
    algorithms: [algorithm],
    allowedIss: issuer,
    allowedAud: audience,
    ...options,
  });
}

const verify = await verifiers[name]();
// Awaiting what is no promise would cost the synchronous ones a turn of the event loop each.
const asynchronous = name === "jose";
let turn = 0;

async function times(count) {
  for (let n = 0; n < count; n += 1) {
    const token = tokens[turn % tokens.length];
    turn += 1;
    if (asynchronous) await verify(token);
    else verify(token);
  }
}

async function check() {
  for (const token of tokens) {
    const result = await verify(token);
    const claims = result.payload ?? result;
    if (claims.iss !== issuer) return "a token without its claims";
  }
  try {
    await verify(forged);
  } catch {
    return "ok";
  }
  return "accepted a forged token";
}

for await (const line of createInterface({ input: process.stdin })) {
  const [command, count] = line.split(" ");
  if (command === "check") {
    console.log(await check().catch((error) => `${error}`.replaceAll("\n", " ")));
  } else {
    // Fresh from sleep the caches of the processor are cold: not counted.
    await times(Math.ceil(count / 8));
    const before = process.cpuUsage();
    await times(Number(count));
    const { user, system } = process.cpuUsage(before);
    console.log((user + system) * 1000);
  }
}
