#!/usr/bin/env bash
# Becomes a Carrick: FOLDER with test.properties, which has the listeners, the port of one of them, another free port. $CARRICK is the binary.
set -euo pipefail
exec "$CARRICK" serve --config "$1/test.properties" --override replication.factor.clamp=false \
  --override "rest.listeners=http://127.0.0.1:$3"
