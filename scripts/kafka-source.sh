#!/usr/bin/env bash
# Fetches the broker of an older Apache Kafka from Maven Central into the cache folder, once, and prints that folder.
#   kafka-source.sh VERSION      CARRICK_CACHE (default ~/.cache/carrick)
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
version=${1:?a version of Apache Kafka}
dir=${CARRICK_CACHE:-$HOME/.cache/carrick}/kafka-source-$version
mkdir -p "$dir"
# Two tests that start at once must not write into each other's files.
exec 9> "$dir/lock"
flock 9
if [ ! -f "$dir/complete" ]; then
  bash "$here/scripts/deps.sh" kafka
  echo "kafka-source: fetching Apache Kafka $version from Maven Central into $dir" >&2
  mvn -q -B -f "$here/tests/harness/java/source/pom.xml" -Dkafka.version="$version" \
    dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$dir/libs" >&2
  touch "$dir/complete"
fi
echo "$dir"
