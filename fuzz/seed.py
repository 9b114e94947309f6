#!/usr/bin/env python3
"""Writes more seeds than are committed, from what the tests have already: seed.py DIRECTORY."""

import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
OUT = pathlib.Path(sys.argv[1])


def write(target, seeds):
    folder = OUT / target
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds):
        (folder / f"seed-{number:04}").write_bytes(seed)


def token_responses():
    for line in (ROOT / "tests/fixtures/token_responses.jsonl").open(encoding="utf-8"):
        fixture = json.loads(line)
        yield fixture["status"].to_bytes(2, "big") + fixture["body"].encode()


def tokens():
    """One token for each rule and verdict."""
    seen = set()
    for line in (ROOT / "tests/corpus/cases.jsonl").open(encoding="utf-8"):
        case = json.loads(line)
        if (case["rule"], case["verdict"]) not in seen and "pad" not in case:
            seen.add((case["rule"], case["verdict"]))
            yield case["token"].encode()


def key_sets():
    for keys in json.loads((ROOT / "tests/corpus/keys.json").read_text(encoding="utf-8")).values():
        yield json.dumps(keys).encode()


write("token_response", token_responses())
write("compact_token", tokens())
write("jwk_set", key_sets())
