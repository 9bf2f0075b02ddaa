#!/usr/bin/env bash
# Becomes an Apache Kafka: FOLDER with test.properties, which has the listeners, the port of one of them, another free port, which is the
# controller's. $SUITE_CLASSPATH has the server.
set -euo pipefail
if [ ! -f "$1/server.properties" ]; then
  read_value() { sed -n "s/^$2=//p" "$1/test.properties" | sed 's/\\\(.\)/\1/g'; }
  listeners=$(read_value "$1" listeners)
  map=$(read_value "$1" listener.security.protocol.map)
  users=$(read_value "$1" super.users)
  grep -vE '^(listeners|listener\.security\.protocol\.map|super\.users)=' "$1/test.properties" > "$1/server.properties"
  # Where the anonymous user is a super user anyway, tests use the controllers' listener without a login.
  case ";$users;" in
    *";User:ANONYMOUS;"*) protocol=PLAINTEXT ;;
    *) protocol=SASL_PLAINTEXT ;;
  esac
  cat >> "$1/server.properties" <<P
listeners=$listeners,CONTROLLER://127.0.0.1:$3
listener.security.protocol.map=$map,CONTROLLER:$protocol
super.users=$users;User:__kraft
process.roles=broker,controller
controller.listener.names=CONTROLLER
controller.quorum.voters=0@127.0.0.1:$3
sasl.mechanism.controller.protocol=PLAIN
listener.name.controller.sasl.enabled.mechanisms=PLAIN
listener.name.controller.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required username="__kraft" password="kraft-secret" user___kraft="kraft-secret";
P
  echo "127.0.0.1:$3" > "$1/controllers"
fi
exec java -Xmx400m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -cp "$SUITE_CLASSPATH" carrick.suite.KafkaHost "$1/server.properties" "$1/data"
