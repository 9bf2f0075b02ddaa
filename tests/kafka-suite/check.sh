#!/usr/bin/env bash
# The cross-section of Kafka's own client tests that CI runs: the classic-protocol cases of three consumer classes and
# all of the producer's compression class. All of them pass on Apache Kafka 4.3.1 in this harness.
#   check.sh CARRICK_BINARY
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
carrick=$1
bash "$here/../../scripts/deps.sh" kafka

work=$(mktemp -d)
read -r port rest < <(bash "$here/free-ports.sh")
"$carrick" serve --override "listeners=PLAINTEXT://127.0.0.1:$port" --override "rest.listeners=http://127.0.0.1:$rest" \
  --override "log.dirs=$work/data" --override group.initial.rebalance.delay.ms=0 --override group.min.session.timeout.ms=100 \
  --override auto.create.topics.enable=true --override num.partitions=1 > "$work/carrick.log" 2>&1 &
broker=$!
trap 'kill "$broker" 2>/dev/null && wait "$broker" 2>/dev/null; rm -rf "$work"' EXIT
for _ in $(seq 1 200); do
  (echo > "/dev/tcp/127.0.0.1/$port") 2>/dev/null && break
  sleep 0.05
done

passed_total=0
missing_total=0
# How many cases pass on real Kafka, a pattern of methods, a class.
section() {
  local expected=$1 methods=$2 class=$3 log=$work/$3.log passed
  bash "$here/run.sh" "127.0.0.1:$port" --method "$methods" "$class" > "$log" 2>&1 || true
  passed=$(sed -n 's/^\[ *\([0-9]*\) tests successful *\]$/\1/p' "$log")
  passed=${passed:-0}
  printf 'kafka-suite: %-30s %3s passed of the %s that pass on Apache Kafka\n' "$class" "$passed" "$expected"
  passed_total=$((passed_total + passed))
  if [ "$passed" -lt "$expected" ]; then
    missing_total=$((missing_total + expected - passed))
    grep -E '\[X\]|=>' "$log" | head -60 || tail -40 "$log"
  fi
}
section 9 '.*#testClassic.*' PlaintextConsumerAssignTest
section 9 '.*#testClassic.*' PlaintextConsumerFetchTest
section 10 '.*#testClassic.*' PlaintextConsumerPollTest
section 1 '.*' ProducerCompressionTest
echo "kafka-suite: $passed_total passed, $missing_total failed"
if [ "$missing_total" -ne 0 ]; then
  tail -20 "$work/carrick.log"
  exit 1
fi
