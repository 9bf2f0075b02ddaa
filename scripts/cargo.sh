#!/usr/bin/env bash
# Runs cargo with the given arguments. While RocksDB's C++ compiles, which is most of a first build, it prints the
# progress every 20 seconds: cargo itself is silent until it ends.
set -euo pipefail

target=${CARGO_TARGET_DIR:-target}
# Files that RocksDB consists of; the list comes with its crate.
sources() { cat "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/librocksdb-sys-*/rocksdb_lib_sources.txt 2>/dev/null | wc -l; }

# Objects of the current compilation; empty if there is none, or if it is done.
objects() {
  local out
  out=$(ls -td "$target"/*/build/librocksdb-sys-*/out 2>/dev/null | head -n 1)
  [ -n "$out" ] && [ ! -f "$out/librocksdb.a" ] || return 0
  find "$out" -name '*.o' | wc -l
}

progress() {
  local all done_now
  # The sleep outlives its shell: it must not hold the output of whoever reads this.
  while sleep 20 < /dev/null > /dev/null 2>&1; do
    all=$(sources) done_now=$(objects)
    [ -z "$done_now" ] || [ "$all" -eq 0 ] || echo "    RocksDB: $done_now of $all files compiled" >&2
  done
}

progress &
watcher=$!
trap 'kill "$watcher" 2>/dev/null || true' EXIT
cargo "$@"
