#!/usr/bin/env bash
# within.sh MINUTES COMMAND…: runs a suite of tests, and ends it after that time with the names of the tests that have not
# ended: a test that hangs costs minutes, and says which it is.
set -uo pipefail

minutes=$1
shift
output=$(mktemp)
trap 'rm -f "$output"' EXIT
timeout --kill-after=30 "${minutes}m" "$@" 2>&1 | tee "$output"
code=${PIPESTATUS[0]}
# 124: timeout has ended it; 137: it had to be killed.
if [ "$code" -eq 124 ] || [ "$code" -eq 137 ]; then
  echo "within: '$*' did not end within $minutes minutes. The last line of its output:" >&2
  tail -n 1 "$output" >&2
  echo "within: tests that have run for over a minute and have not ended:" >&2
  # libtest names each test that has run for a minute, and again when it ends.
  sed -n 's/^test \([^ ]*\) has been running for over 60 seconds$/\1/p' "$output" | sort -u | while read -r name; do
    grep -qE "^test ${name//[^a-zA-Z0-9_:]/.} \.\.\. [a-z]" "$output" || echo "  $name" >&2
  done
fi
exit "$code"
