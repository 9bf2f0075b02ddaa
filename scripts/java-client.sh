#!/usr/bin/env bash
# Fetches another release of the Java client from Maven Central into the cache folder, once, compiles the peer against
# it if an API is named, and prints that folder.
#   java-client.sh VERSION [API]   API: as for java-peer.sh · CARRICK_CACHE (default ~/.cache/carrick)
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
version=${1:?a version of kafka-clients}
dir=${CARRICK_CACHE:-$HOME/.cache/carrick}/kafka-clients-$version
mkdir -p "$dir"
exec 8> "$dir/lock"
flock 8
if [ ! -f "$dir/complete" ]; then
  bash "$here/scripts/deps.sh" kafka
  echo "java-client: fetching kafka-clients $version from Maven Central into $dir" >&2
  mvn -q -B -f "$here/tests/harness/java/api/pom.xml" -Dkafka.version="$version" \
    dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$dir/libs" >&2
  touch "$dir/complete"
fi
if [ -n "${2:-}" ]; then
  bash "$here/scripts/java-peer.sh" "$dir/libs" "$2" "$dir/peer"
fi
echo "$dir"
