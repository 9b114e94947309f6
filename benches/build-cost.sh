#!/usr/bin/env bash
# What the crate costs to build, and what each feature adds: crates, and CPU seconds of a release
# build from nothing. Neither cmake nor nasm is to be found meanwhile, nor clang or Go.
#
# benches/build-cost.sh [FEATURE...]    every feature unless some are named
set -euo pipefail
cd "$(dirname "$0")/.."

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# Everything that is on the path, but for these.
mkdir "$scratch/bin"
IFS=: read -ra folders <<<"$PATH"
for folder in "${folders[@]}"; do
  for tool in "$folder"/*; do
    case ${tool##*/} in
      cmake* | nasm | yasm | clang* | go) ;;
      *) [ ! -x "$tool" ] || [ -e "$scratch/bin/${tool##*/}" ] || ln -s "$tool" "$scratch/bin/" ;;
    esac
  done
done
export PATH="$scratch/bin"
for tool in cmake nasm clang go; do
  ! command -v "$tool" >/dev/null || { echo "$tool is still there" >&2; exit 1; }
done

features=("$@")
if [ $# -eq 0 ]; then
  mapfile -t features < <(cargo metadata --no-deps --format-version 1 | python3 -c '
import json, sys
features = json.load(sys.stdin)["packages"][0]["features"]
print("\n".join(name for name in sorted(features) if name != "default"))')
fi

crates() { cargo tree --edges normal,build --prefix none --features "$1" | sed 's/ (\*)$//' | sort -u | wc -l; }

seconds() {
  local TIMEFORMAT='%U %S' spent
  rm -rf "$scratch/target"
  spent=$({ time cargo build --release --locked --quiet --lib --features "$1" \
    --target-dir "$scratch/target" >"$scratch/log" 2>&1; } 2>&1) || { cat "$scratch/log" >&2; exit 1; }
  awk '{ printf "%.0f", $1 + $2 }' <<<"$spent"
}

cargo fetch --locked --quiet
printf '%-24s %8s %12s\n' "" crates "CPU seconds"
plain=$(crates "") base=$(seconds "")
printf '%-24s %8d %12d\n' default "$plain" "$base"
for feature in "${features[@]}"; do
  printf '%-24s %+8d %+12d\n' "$feature" $(($(crates "$feature") - plain)) $(($(seconds "$feature") - base))
done
