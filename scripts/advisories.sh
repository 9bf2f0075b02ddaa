#!/usr/bin/env bash
# Known flaws, licences and origins of the dependencies (deny.toml), as far as this machine can check them: says what it
# did not check, and why.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! cargo deny --version >/dev/null 2>&1; then
  echo "advisories: NOT CHECKED: cargo-deny is not installed (cargo install --locked cargo-deny)"
  exit 0
fi
cargo deny --locked --offline check --hide-inclusion-graph licenses bans sources
if cargo deny --locked fetch db >/dev/null 2>&1; then
  cargo deny --locked check --disable-fetch advisories
else
  echo "advisories: NOT CHECKED: the advisory database could not be fetched"
fi
