#!/usr/bin/env bash
# Fetches a real Apache Kafka (server, tools, clients) from Maven Central into the cache folder, once, and prints that folder.
#   CARRICK_CACHE (default ~/.cache/carrick) · KAFKA_VERSION (default 4.3.0)
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
version=${KAFKA_VERSION:-4.3.0}
dir=${CARRICK_CACHE:-$HOME/.cache/carrick}/kafka-$version
if [ ! -f "$dir/complete" ]; then
  bash "$here/scripts/deps.sh" kafka
  mkdir -p "$dir"
  echo "kafka-peer: fetching Apache Kafka $version from Maven Central into $dir" >&2
  mvn -q -B -f "$here/tests/harness/java/pom.xml" -Dkafka.version="$version" \
    dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$dir/libs" >&2
  touch "$dir/complete"
fi
bash "$here/scripts/java-peer.sh" "$dir/libs" 4 "$dir/peer"
workers=$here/tests/harness/java/Workers.java
exec 9> "$dir/peer/lock"
flock 9
if [ ! -f "$dir/peer/Workers.class" ] || ! cmp -s "$workers" "$dir/peer/Workers.java"; then
  javac -nowarn -d "$dir/peer" -cp "$dir/libs/*" "$workers" >&2
  cp "$workers" "$dir/peer"
fi
echo "$dir"
