#!/usr/bin/env bash
# Prepares the client libraries that tests run as peers, once per lock file, and prints the folder:
#   client-peers.sh python   a virtual environment with tests/harness/python/requirements.txt
#   client-peers.sh node     node_modules of tests/harness/node/package-lock.json
#   client-peers.sh go       the programs of tests/harness/go, built, in bin/
#   client-peers.sh all      each of them; a missing toolchain is named and skipped
# CARRICK_CACHE (default ~/.cache/carrick). If a toolchain is missing, standard error says what to install, and the
# script ends with 3.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)/tests/harness
cache=${CARRICK_CACHE:-$HOME/.cache/carrick}/clients
what=${1:?python, node, go or all}

missing() {
  echo "$1" >&2
  exit 3
}

# The folder's name changes with the contents of the given files, and with the toolchain.
folder() {
  local name=$1 version=$2
  shift 2
  local hash
  hash=$({ echo "$version"; cat "$@"; } | sha256sum | cut -c1-16)
  echo "$cache/$name-$hash"
}

python() {
  local script='import venv, ensurepip, sys; sys.exit(sys.version_info < (3, 10))'
  python3 -c "$script" 2>/dev/null || missing "apt-get install python3 python3-venv   (Python 3.10 or newer)"
  dir=$(folder python "$(python3 --version)" "$here/python/requirements.txt")
  once python3 -m venv --clear "$dir"
  once "$dir/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: -r "$here/python/requirements.txt"
}

node() {
  { command -v node && command -v npm; } >/dev/null || missing "apt-get install nodejs npm   (Node 18 or newer)"
  dir=$(folder node "$(command node --version)" "$here/node/package-lock.json")
  once mkdir -p "$dir"
  once cp "$here/node/package.json" "$here/node/package-lock.json" "$dir"
  once npm ci --prefix "$dir" --silent --no-audit --no-fund --ignore-scripts
}

go() {
  local version
  version=$(cd "$here/go" && command go env GOVERSION 2>/dev/null) || missing "install Go $(sed -n 's/^go //p' "$here/go/go.mod") or newer: https://go.dev/dl"
  dir=$(folder go "$version" "$here/go/go.sum" "$here"/go/*/*.go)
  once mkdir -p "$dir/bin"
  once command go build -C "$here/go" -trimpath -o "$dir/bin/" ./...
}

# Runs a step unless the folder is complete. Output goes to standard error: the folder alone is the answer.
once() {
  [ -f "$dir/complete" ] || "$@" >&2
}

if [ "$what" = all ]; then
  for each in python node go; do
    code=0
    bash "$0" "$each" >/dev/null || code=$?
    [ "$code" -eq 3 ] && echo "client-peers: SKIPPED $each: its toolchain is missing" >&2
    [ "$code" -eq 0 ] || [ "$code" -eq 3 ] || exit "$code"
  done
  exit 0
fi
mkdir -p "$cache"
# One at a time: two test runs may want the same folder.
exec 9> "$cache/$what.lock"
flock 9
"$what"
touch "$dir/complete"
echo "$dir"
