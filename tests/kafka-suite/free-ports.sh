#!/usr/bin/env bash
# Prints two ports of the loopback interface that nothing listens on.
set -euo pipefail
ports=()
while [ ${#ports[@]} -lt 2 ]; do
  port=$((20000 + RANDOM % 12000))
  (echo > "/dev/tcp/127.0.0.1/$port") 2>/dev/null || ports+=("$port")
done
echo "${ports[@]}"
