#!/usr/bin/env bash
# Compiles the Java client peer against one release of kafka-clients, unless that was done from the same sources before.
#   java-peer.sh JARS API TO     API: the folder of tests/harness/java/api that fits the release
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)/tests/harness/java
jars=$1 api=$2 to=$3
mkdir -p "$to"
# Two tests that start at once must not write into each other's files.
exec 9> "$to/lock"
flock 9
sources=("$here/Peer.java" "$here/Security.java" "$here/api/$api/Api.java")
done=$([ -f "$to/Api.class" ] && echo yes || echo no)
for source in "${sources[@]}"; do
  cmp -s "$source" "$to/$(basename "$source")" || done=no
done
if [ "$done" = no ]; then
  javac -nowarn -d "$to" -cp "$jars/*" "${sources[@]}" >&2
  cp "${sources[@]}" "$to"
fi
