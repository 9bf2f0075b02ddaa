#!/usr/bin/env bash
# Becomes a Carrick: FOLDER with test.properties, client port, another free port. $CARRICK is the binary.
# Names that tests set and that are no broker properties (one is a sentence) are left out: Kafka ignores what it doesn't know, Carrick refuses it.
# A cluster of one broker refuses a replication factor of two, which the tests count on.
set -euo pipefail
if [ ! -f "$1/server.properties" ]; then
  grep -vE '^((file\.delete\.delay\.ms|log\.unclean\.leader\.election\.enable)=|Maximum\\ )' "$1/test.properties" > "$1/server.properties"
fi
exec "$CARRICK" serve --config "$1/server.properties" --override replication.factor.clamp=false \
  --override "listeners=PLAINTEXT://127.0.0.1:$2" \
  --override "rest.listeners=http://127.0.0.1:$3"
