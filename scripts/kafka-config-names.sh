#!/usr/bin/env bash
# Prints the names of the broker properties that a release of Apache Kafka knows, one per line.
#   kafka-config-names.sh VERSION      broker/src/config/testdata/kafka.names holds them by release
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
libs=$(bash "$here/scripts/kafka-source.sh" "${1:?a version of Apache Kafka}")/libs
java -cp "$libs/*" "$here/tests/harness/java/ConfigNames.java" 2>/dev/null
