#!/usr/bin/env bash
# Fetches Kafka's published tests from Maven Central, once, compiles what stands between them and a broker, and prints the class path.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=${CARRICK_CACHE:-$HOME/.cache/carrick}/kafka-suite
mkdir -p "$work"
bash "$here/../../scripts/deps.sh" kafka >&2
if [ ! -s "$work/cp.txt" ] || ! cmp -s "$here/pom.xml" "$work/pom.xml"; then
  mvn -q -B -f "$here/pom.xml" dependency:build-classpath -Dmdep.outputFile="$work/cp.txt" >&2
  cp "$here/pom.xml" "$work/pom.xml"
fi
classpath=$(cat "$work/cp.txt")
if ! diff -rq "$here/java" "$work/java" >&2 2>/dev/null; then
  rm -rf "$work/java" "$work/out"
  mkdir -p "$work/out"
  find "$here/java" -name '*.java' -print0 | xargs -0 javac -nowarn -d "$work/out" -cp "$classpath" >&2
  cp -r "$here/java" "$work/java"
fi
echo "$work/out:$classpath"
