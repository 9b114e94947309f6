#!/usr/bin/env bash
# Installs the pinned peers of other languages beside this script; safe to run again.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

(cd node && npm ci --no-audit --no-fund)
python3 -m venv python/.venv
# --no-deps: only what requirements.txt pins; the check fails when a pin is missing.
python/.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r python/requirements.txt
python/.venv/bin/python -m pip check
