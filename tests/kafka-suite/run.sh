#!/usr/bin/env bash
# Apache Kafka's own client integration tests, as published on Maven Central, against a broker outside the JVM.
#   run.sh HOST:PORT [--method REGEX] CLASS…     a running broker; ITS TOPICS AND GROUPS ARE DELETED before each test
# CLASS is a simple name such as PlaintextConsumerPollTest. --method takes a regular expression on Class#method.
# The shim in shim/ stands in for the one class through which the tests reach their cluster.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
bootstrap=$1
shift
select=()
if [ "${1:-}" = --method ]; then
  select+=(--include-methodname "$2")
  shift 2
fi
work=${CARRICK_CACHE:-$HOME/.cache/carrick}/kafka-suite
mkdir -p "$work/out"
if [ ! -s "$work/cp.txt" ]; then
  mvn -q -B -f "$here/pom.xml" dependency:build-classpath -Dmdep.outputFile="$work/cp.txt"
fi
classpath=$(cat "$work/cp.txt")
shim=org/apache/kafka/common/test/junit/RaftClusterInvocationContext
if [ ! "$work/out/$shim.class" -nt "$here/shim/$shim.java" ]; then
  javac -nowarn -d "$work/out" -cp "$classpath" "$here/shim/$shim.java"
fi
jar=$(tr ':' '\n' <<< "$classpath" | grep 'kafka-clients-integration-tests-.*-test.jar')
for class in "$@"; do
  name=$(unzip -Z1 "$jar" | grep "/$class.class" | head -1) || { echo "kafka-suite: no class $class" >&2; exit 2; }
  name=${name%.class}
  select+=(--select-class "${name//\//.}")
done
exec java -Xmx900m -XX:TieredStopAtLevel=1 -Dpeer.bootstrap="$bootstrap" -cp "$work/out:$classpath" \
  org.junit.platform.console.ConsoleLauncher execute \
  --config junit.jupiter.execution.timeout.default="${SUITE_TEST_TIMEOUT:-60s}" \
  --details=tree --disable-banner --disable-ansi-colors "${select[@]}"
