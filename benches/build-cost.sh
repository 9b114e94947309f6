#!/usr/bin/env bash
# What the crate costs to build, and what each feature adds: crates, and CPU seconds. The default is
# a release build from nothing. A feature is built on top of it, and what the crate itself takes to
# build again is taken off. Neither cmake nor nasm is to be found meanwhile, nor clang or Go.
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

# build FOLDER FEATURE: CPU seconds of a build in that folder.
build() {
  local TIMEFORMAT='%U %S' spent
  spent=$({ time cargo build --release --locked --quiet --lib --features "$2" \
    --target-dir "$1" >"$scratch/log" 2>&1; } 2>&1) || { cat "$scratch/log" >&2; exit 1; }
  awk '{ printf "%.0f", $1 + $2 }' <<<"$spent"
}

# again FEATURE: CPU seconds of a build on top of the default one.
again() {
  rm -rf "$scratch/again"
  cp -a "$scratch/default" "$scratch/again"
  cargo clean --release --package midil-auth --target-dir "$scratch/again" --quiet
  build "$scratch/again" "$1"
}

cargo fetch --locked --quiet
printf '%-24s %8s %12s\n' "" crates "CPU seconds"
plain=$(crates "")
printf '%-24s %8d %12d\n' default "$plain" "$(build "$scratch/default" "")"
own=$(again "")
for feature in "${features[@]}"; do
  printf '%-24s %+8d %+12d\n' "$feature" $(($(crates "$feature") - plain)) $(($(again "$feature") - own))
done
