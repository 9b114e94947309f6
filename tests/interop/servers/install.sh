#!/usr/bin/env bash
# Installs the pinned servers beside this script; safe to run again.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

npm ci --no-audit --no-fund
python3 -m venv .venv
# --no-deps: only what requirements.txt pins; the check fails when a pin is missing.
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements.txt
.venv/bin/python -m pip check
