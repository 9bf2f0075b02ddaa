#!/usr/bin/env bash
# Fetches what the applications of the client matrix need beyond a real Apache Kafka (Streams, the file connectors) from
# Maven Central into the cache folder, once, compiles the programs of tests/harness/java/apps, and prints that folder.
#   CARRICK_CACHE (default ~/.cache/carrick) · KAFKA_VERSION (default 4.3.0)
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
version=${KAFKA_VERSION:-4.3.0}
kafka=$(bash "$here/scripts/kafka-peer.sh")
dir=${CARRICK_CACHE:-$HOME/.cache/carrick}/kafka-apps-$version
sources=$here/tests/harness/java/apps
mkdir -p "$dir"
# Two tests that start at once must not write into each other's files.
exec 9> "$dir/lock"
flock 9
if [ ! -f "$dir/complete" ]; then
  echo "kafka-apps: fetching Kafka Streams and the file connectors $version from Maven Central into $dir" >&2
  mvn -q -B -f "$sources/pom.xml" -Dkafka.version="$version" dependency:copy-dependencies -DincludeScope=runtime \
    -DincludeArtifactIds=kafka-streams,rocksdbjni,connect-file -DoutputDirectory="$dir/libs" >&2
  touch "$dir/complete"
fi
if ! diff -q -x '*.xml' "$sources" "$dir/sources" >/dev/null 2>&1; then
  rm -rf "$dir/classes" "$dir/sources"
  mkdir -p "$dir/classes" "$dir/sources"
  javac -nowarn -d "$dir/classes" -cp "$kafka/libs/*:$dir/libs/*" "$sources"/*.java >&2
  cp "$sources"/*.java "$dir/sources"
fi
echo "$dir"
