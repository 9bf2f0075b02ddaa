#!/usr/bin/env bash
# Becomes an Apache Kafka: FOLDER with test.properties, client port, another free port. $SUITE_CLASSPATH has the server.
set -euo pipefail
if [ ! -f "$1/server.properties" ]; then
  cat "$1/test.properties" - > "$1/server.properties" <<P
listeners=PLAINTEXT://127.0.0.1:$2,CONTROLLER://127.0.0.1:$3
advertised.listeners=PLAINTEXT://127.0.0.1:$2
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
process.roles=broker,controller
controller.listener.names=CONTROLLER
controller.quorum.voters=0@127.0.0.1:$3
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
min.insync.replicas=1
default.replication.factor=1
P
fi
exec java -Xmx256m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -cp "$SUITE_CLASSPATH" carrick.suite.KafkaHost "$1/server.properties" "$1/data"
