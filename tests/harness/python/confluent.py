"""The confluent-kafka client (librdkafka) as a test peer."""

import threading
import time

import confluent_kafka
import line
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic

MEMBERS = {}
OPEN = {}
KEPT = {}

FILES = {"ca": ["ssl.ca.location"], "identity": ["ssl.certificate.location", "ssl.key.location"]}


class Watch:
    """Notes what a client's connections are refused with: its operations themselves would go on trying."""

    def __init__(self):
        self.error = None

    def __call__(self, error):
        if kind_of(error) in ("authentication", "tls"):
            self.error = error

    def check(self):
        if self.error is not None:
            raise KafkaException(self.error)


def kind_of(error):
    match error.code():
        case KafkaError._AUTHENTICATION | KafkaError.SASL_AUTHENTICATION_FAILED:
            return "authentication"
        case KafkaError._SSL:
            return "tls"
        # An alert of the broker, after the handshake: TLS 1.3.
        case KafkaError._TRANSPORT if "SSL alert" in error.str():
            return "tls"
        case (KafkaError.TOPIC_AUTHORIZATION_FAILED | KafkaError.GROUP_AUTHORIZATION_FAILED
              | KafkaError.CLUSTER_AUTHORIZATION_FAILED | KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED):
            return "authorization"
    return None


def kind(error):
    found = error.args[0] if isinstance(error, KafkaException) else None
    return kind_of(found) if isinstance(found, KafkaError) else None


def base(q):
    """What every client of a request has."""
    settings = {"bootstrap.servers": q["bootstrap"]}
    security = q.get("security")
    if security is None:
        return settings
    settings["security.protocol"] = security["protocol"]
    for name, wanted in FILES.items():
        settings.update((setting, security[name]) for setting in wanted if name in security)
    match security.get("mechanism"):
        case None:
            pass
        case "OAUTHBEARER" if "oidc" in security:
            oidc = security["oidc"]
            settings.update({
                "sasl.mechanism": "OAUTHBEARER", "sasl.oauthbearer.method": "oidc",
                "sasl.oauthbearer.token.endpoint.url": oidc["url"], "sasl.oauthbearer.client.id": oidc["id"],
                "sasl.oauthbearer.client.secret": oidc["secret"]})
        case "OAUTHBEARER":
            token = security["token"]
            settings.update({"sasl.mechanism": "OAUTHBEARER", "oauth_cb": lambda _: (token, time.time() + 3600)})
        case mechanism:
            settings.update({
                "sasl.mechanism": mechanism, "sasl.username": security["user"], "sasl.password": security["password"]})
    return settings


def code(error):
    found = error.args[0] if isinstance(error, KafkaException) else None
    return found.name() if isinstance(found, KafkaError) else type(error).__name__


def producer(q, **more):
    return Producer({
        **base(q),
        "compression.codec": q.get("compression", "none"),
        "enable.idempotence": q.get("idempotent", False),
        "linger.ms": 5,
        **more,
    })


def produce(q):
    name = q.get("keep")
    to, watch = KEPT.get(name) or kept(q)
    if name:
        KEPT[name] = to, watch
    return send(to, q, watch)


def kept(q):
    watch = Watch()
    return producer(q, error_cb=watch), watch


def send(to, q, watch=Watch()):
    offsets, failures = [], []
    watch.error = None

    def delivered(error, message):
        if error:
            failures.append(error)
        else:
            offsets.append(message.offset())

    made, content = line.records(q)
    pace = line.Pace(q)
    for index, (timestamp, key, value, headers) in enumerate(made):
        when = {} if timestamp is None else {"timestamp": timestamp}
        to.produce(q["topic"], value, key, q.get("partition", 0), delivered, headers=headers, **when)
        to.poll(pace.due_in_s(index))
    deadline = time.monotonic() + line.LIMIT_S
    while left := to.flush(0.2):
        if watch.error is not None:
            to.purge()
        watch.check()
        if time.monotonic() > deadline:
            raise TimeoutError(f"{left} records were not acknowledged")
    if failures:
        raise KafkaException(failures[0])
    return line.acked(offsets, content)


def transaction(q):
    to = OPEN.pop(q["transactional_id"], None)
    if to is None:
        to = producer(q, **{"transactional.id": q["transactional_id"], "enable.idempotence": True})
        to.init_transactions(line.LIMIT_S)
        to.begin_transaction()
    done = send(to, q)
    finish(to, q)
    return done


def finish(to, q):
    match q["outcome"]:
        case "commit":
            to.commit_transaction(line.LIMIT_S)
        case "abort":
            to.abort_transaction(line.LIMIT_S)
        case _:
            OPEN[q["transactional_id"]] = to


def consumer(q, **more):
    return Consumer({
        **base(q),
        "group.id": q.get("group", "unused"),
        "isolation.level": q.get("isolation", "read_uncommitted"),
        "auto.offset.reset": "earliest",
        "fetch.wait.max.ms": 100,
        **more,
    })


def until_end(source, add):
    """Hands every message to `add`, until one partition's end."""
    deadline = time.monotonic() + line.LIMIT_S
    while time.monotonic() < deadline:
        message = source.poll(0.5)
        if message is None:
            continue
        if message.error() is None:
            add(message)
        elif message.error().code() == KafkaError._PARTITION_EOF:
            return message.offset()
        else:
            raise KafkaException(message.error())
    raise TimeoutError("the end was not reached")


def consume(q):
    source = consumer(q, **{"enable.partition.eof": True, "enable.auto.commit": False})
    source.assign([TopicPartition(q["topic"], q.get("partition", 0), confluent_kafka.OFFSET_BEGINNING)])
    seen = line.Seen()
    until_end(source, lambda m: seen.add(m.offset(), m.timestamp()[1], m.key(), m.value(), m.headers() or []))
    source.close()
    return seen.answer()


def process(q):
    """Reads the topic's partition to its end as a member of the group, and writes it in one transaction."""
    source = consumer(q, **{"enable.partition.eof": True, "enable.auto.commit": False})
    source.subscribe([q["topic"]])
    to = producer(q, **{"transactional.id": q["transactional_id"], "enable.idempotence": True})
    to.init_transactions(line.LIMIT_S)
    to.begin_transaction()
    count = 0

    def pass_on(message):
        nonlocal count
        to.produce(q["to"], message.value(), message.key())
        count += 1

    until_end(source, pass_on)
    # An abort would drop what has not been sent.
    to.flush(line.LIMIT_S)
    to.send_offsets_to_transaction(source.position(source.assignment()), source.consumer_group_metadata(), line.LIMIT_S)
    finish(to, q)
    source.close()
    return {"count": count}


class Member:
    """The consumer is used by one thread only; what others are told is noted by it."""

    def __init__(self, q):
        if "protocol" in q:
            settings = {"group.protocol": q["protocol"]}
        else:
            settings = {"session.timeout.ms": q["session_ms"], "heartbeat.interval.ms": q["session_ms"] // 10}
        self.consumer = consumer(q, **{"auto.commit.interval.ms": 200, **settings, "error_cb": self.failed})
        self.assigned, self.consumed, self.failure, self.kind, self.stopped = [], 0, None, None, False
        self.consumer.subscribe([q["topic"]])
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.stopped:
            message = self.consumer.poll(0.05)
            self.assigned = sorted(p.partition for p in self.consumer.assignment())
            if message is None:
                continue
            if message.error():
                self.failed(message.error())
            else:
                self.consumed += 1
        self.consumer.close()

    def failed(self, error):
        self.failure, self.kind = str(error), kind_of(error)

    def state(self):
        return {
            "assigned": self.assigned, "consumed": self.consumed, "failure": self.failure, "failure_kind": self.kind}

    def stop(self):
        self.stopped = True
        self.thread.join()


def member_start(q):
    MEMBERS[q["name"]] = Member(q)


def partition(q, *rest):
    return TopicPartition(q["topic"], q.get("partition", 0), *rest)


def commit(q):
    source = consumer(q)
    source.commit(offsets=[partition(q, q["offset"], q.get("metadata", ""))], asynchronous=False)
    source.close()


def committed(q):
    source = consumer(q)
    [found] = source.committed([partition(q)], line.LIMIT_S)
    source.close()
    return {"offset": max(found.offset, -1), "metadata": found.metadata or ""}


def with_admin(op):
    def run(q):
        # Its calls end with it, so it must live until they are done.
        admin = AdminClient(base(q))
        return op(admin, q)
    return run


def done(futures):
    """The results of an admin call, in order; the first failure is raised."""
    return [future.result(line.LIMIT_S) for future in futures.values()]


def create_topic(admin, q):
    new = NewTopic(q["topic"], num_partitions=q.get("partitions", 1), replication_factor=1, config=q.get("configs", {}))
    done(admin.create_topics([new]))


def describe_topic(admin, q):
    [topic] = done(admin.describe_topics(confluent_kafka.TopicCollection([q["topic"]])))
    return {"partitions": len(topic.partitions)}


def create_partitions(admin, q):
    done(admin.create_partitions([NewPartitions(q["topic"], q["total"])]))


def delete_topic(admin, q):
    done(admin.delete_topics([q["topic"]]))


def describe_configs(admin, q):
    [configs] = done(admin.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, q["topic"])]))
    return {"configs": {name: entry.value for name, entry in configs.items()}}


def alter_configs(admin, q):
    changes = [ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in q["configs"].items()]
    resource = ConfigResource(ConfigResource.Type.TOPIC, q["topic"], incremental_configs=changes)
    done(admin.incremental_alter_configs([resource]))


def list_groups(admin, q):
    listed = admin.list_consumer_groups().result(line.LIMIT_S)
    if listed.errors:
        raise listed.errors[0]
    return {"groups": [group.group_id for group in listed.valid]}


def describe_group(admin, q):
    [group] = done(admin.describe_consumer_groups([q["group"]]))
    return {"state": group.state.name, "members": len(group.members)}


def delete_group(admin, q):
    done(admin.delete_consumer_groups([q["group"]]))


def group_offsets(admin, q):
    [found] = done(admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(q["group"])]))
    return {"offsets": {f"{p.topic}-{p.partition}": p.offset for p in found.topic_partitions}}


def alter_offsets(admin, q):
    to = ConsumerGroupTopicPartitions(q["group"], [partition(q, q["offset"])])
    done(admin.alter_consumer_group_offsets([to]))


line.serve(line.table(globals(), f"{confluent_kafka.version()} (librdkafka {confluent_kafka.libversion()[0]})"), code, kind)
