"""PyJWT: `python peer.py NAME FIXTURE`, then a command a line on stdin.

check    accepts every good token and refuses the forged one? "ok", or what went wrong
run N    verifies N tokens, answers the CPU time of the process in nanoseconds
"""

import json
import sys
import time

import jwt

NAME, PATH = sys.argv[1:]
with open(PATH, encoding="utf-8") as file:
    FIXTURE = json.load(file)
TOKENS = FIXTURE["tokens"]
RULES = {
    "algorithms": [FIXTURE["algorithm"]],
    "issuer": FIXTURE["issuer"],
    "audience": FIXTURE["audience"],
}

if NAME == "PyJWKClient":
    CLIENT = jwt.PyJWKClient(FIXTURE["jwks_url"], lifespan=3600)

    def verify(token):
        key = CLIENT.get_signing_key_from_jwt(token)
        return jwt.decode(token, key, **RULES)

else:
    KEY = jwt.PyJWK(FIXTURE["jwks"]["keys"][0])

    def verify(token):
        return jwt.decode(token, KEY, **RULES)


def check():
    for token in TOKENS:
        if verify(token)["iss"] != FIXTURE["issuer"]:
            return "a token without its claims"
    try:
        verify(FIXTURE["forged"])
    except jwt.InvalidSignatureError:
        return "ok"
    return "accepted a forged token"


def main():
    turn = 0

    def times(count):
        nonlocal turn
        for _ in range(count):
            verify(TOKENS[turn % len(TOKENS)])
            turn += 1

    for line in sys.stdin:
        command, *rest = line.split()
        if command == "check":
            try:
                answer = check()
            except Exception as error:  # Whatever it is, the row says so.
                answer = repr(error).replace("\n", " ")
        else:
            count = int(rest[0])
            # Fresh from sleep the caches of the processor are cold: not counted.
            times(-(-count // 8))
            before = time.process_time_ns()
            times(count)
            answer = time.process_time_ns() - before
        print(answer, flush=True)


main()
