#!/usr/bin/env bash
# prepare.sh kafka-suite|kafka-authz: fetches published tests of Kafka's from Maven Central, once, compiles what stands between them and a
# broker, and prints the class path. Classes in the suite's folder `java` shadow those of the jars. Where it has `patches`, tests that look
# into a broker's objects are compiled from the published sources with those.
set -euo pipefail
suite=$1
tests=$(cd "$(dirname "$0")/.." && pwd)
here=$tests/$suite
common=$tests/kafka-suite/java
work=${CARRICK_CACHE:-$HOME/.cache/carrick}/$suite
kafka=$(sed -n 's#.*<kafka>\(.*\)</kafka>.*#\1#p' "$here/pom.xml")
mkdir -p "$work"
bash "$tests/../scripts/deps.sh" kafka >&2
if [ ! -s "$work/cp.txt" ] || ! cmp -s "$here/pom.xml" "$work/pom.xml"; then
  mvn -q -B -f "$here/pom.xml" dependency:build-classpath -Dmdep.outputFile="$work/cp.txt" >&2
  cp "$here/pom.xml" "$work/pom.xml"
fi
classpath=$(cat "$work/cp.txt")

# From the published sources: the files that a patch names, patched.
patched() {
  local artifact
  rm -rf "$work/src"
  for artifact in kafka_2.13 kafka-clients-integration-tests; do
    [ -f "$work/jars/$artifact-$kafka-test-sources.jar" ] ||
      mvn -q -B dependency:copy -Dartifact="org.apache.kafka:$artifact:$kafka:jar:test-sources" -DoutputDirectory="$work/jars"
    mkdir -p "$work/src/$artifact"
    (
      cd "$work/src/$artifact"
      sed -n 's#^+++ b/##p' "$here/patches/$artifact.patch" | xargs unzip -qo "$work/jars/$artifact-$kafka-test-sources.jar"
      patch -s -p1 < "$here/patches/$artifact.patch"
    )
  done
  find "$work/src" -name '*.scala' -print0 |
    xargs -0 java -Xss8m -Xmx1500m -cp "$classpath" scala.tools.nsc.Main -nowarn -d "$work/out" -cp "$work/out:$classpath"
  find "$work/src" -name '*.java' -print0 | xargs -0 javac -nowarn -d "$work/out" -cp "$work/out:$classpath"
}

inputs=("$here/java" "$common" "$here/pom.xml")
[ ! -d "$here/patches" ] || inputs+=("$here/patches")
stamp=$(find "${inputs[@]}" -type f | sort | xargs cat | sha256sum | cut -c1-16)
if [ "$(cat "$work/stamp" 2>/dev/null)" != "$stamp" ]; then
  rm -rf "$work/out"
  mkdir -p "$work/out"
  find "$common/carrick" "$here/java" -name '*.java' | sort -u | xargs javac -nowarn -d "$work/out" -cp "$classpath" >&2
  cp -r "$common/META-INF" "$work/out"
  [ ! -d "$here/patches" ] || patched >&2
  echo "$stamp" > "$work/stamp"
fi
echo "$work/out:$classpath"
