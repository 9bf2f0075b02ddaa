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
if [ ! -f "$to/Api.class" ] || ! cmp -s "$here/Peer.java" "$to/Peer.java" || ! cmp -s "$here/api/$api/Api.java" "$to/Api.java"; then
  javac -nowarn -d "$to" -cp "$jars/*" "$here/Peer.java" "$here/api/$api/Api.java" >&2
  cp "$here/Peer.java" "$here/api/$api/Api.java" "$to"
fi
