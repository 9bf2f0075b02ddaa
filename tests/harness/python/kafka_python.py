"""The kafka-python client as a test peer."""

import threading
import time

import kafka
import line
from kafka import ConsumerRebalanceListener, KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import KafkaError
from kafka.net.sasl.oauth import AbstractTokenProvider
from kafka.structs import OffsetAndMetadata

MEMBERS = {}
OPEN = {}
KEPT = {}


class Token(AbstractTokenProvider):
    def __init__(self, token):
        super().__init__()
        self.value = token

    def token(self):
        return self.value


def base(q):
    """What every client of a request has."""
    settings = {"bootstrap_servers": q["bootstrap"]}
    if security := q.get("security"):
        settings.update(
            security_protocol=security["protocol"], ssl_context=line.tls(security), bootstrap_timeout_ms=5000)
        if mechanism := security.get("mechanism"):
            settings["sasl_mechanism"] = mechanism
            if mechanism == "OAUTHBEARER":
                settings["sasl_oauth_token_provider"] = Token(security["token"])
            else:
                settings.update(sasl_plain_username=security["user"], sasl_plain_password=security["password"])
    return settings


def producer(q, **more):
    codec = q.get("compression", "none")
    if "security" in q:
        # A producer whose connections are refused after its first record says nothing before that time.
        more.update(delivery_timeout_ms=8000, request_timeout_ms=6000)
    return KafkaProducer(
        **base(q), compression_type=None if codec == "none" else codec, acks="all", linger_ms=5,
        enable_idempotence=q.get("idempotent", False) or "transactional_id" in more, **more)


def produce(q):
    if name := q.get("keep"):
        if name not in KEPT:
            KEPT[name] = producer(q)
        return send(KEPT[name], q)
    to = producer(q)
    try:
        return send(to, q)
    finally:
        to.close(10)


def send(to, q):
    made, content = line.records(q)
    pace = line.Pace(q)
    sent = []
    for index, (timestamp, key, value, headers) in enumerate(made):
        sent.append(to.send(q["topic"], value, key, headers, q.get("partition", 0), timestamp))
        time.sleep(pace.due_in_s(index))
    to.flush(line.LIMIT_S)
    return line.acked([one.get(line.LIMIT_S).offset for one in sent], content)


def transaction(q):
    to = OPEN.pop(q["transactional_id"], None)
    if to is None:
        to = producer(q, transactional_id=q["transactional_id"])
        to.init_transactions()
        to.begin_transaction()
    done = send(to, q)
    finish(to, q)
    return done


def finish(to, q):
    if q["outcome"] == "open":
        OPEN[q["transactional_id"]] = to
        return
    if q["outcome"] == "commit":
        to.commit_transaction()
    else:
        to.abort_transaction()
    to.close(10)


def consumer(q, **more):
    return KafkaConsumer(
        **base(q), isolation_level=q.get("isolation", "read_uncommitted"), auto_offset_reset="earliest",
        **{"enable_auto_commit": False, **more})


def partition(q):
    return TopicPartition(q["topic"], q.get("partition", 0))


def until_end(source, at, add):
    """Hands every message to `add`, until the end that the consumer's isolation level can reach."""
    end = source.end_offsets([at])[at]
    deadline = time.monotonic() + line.LIMIT_S
    while source.position(at) < end:
        if time.monotonic() > deadline:
            raise TimeoutError(f"still at {source.position(at)} of {end}")
        for messages in source.poll(200).values():
            for message in messages:
                add(message)
    return end


def consume(q):
    source = consumer(q)
    try:
        source.assign([partition(q)])
        source.seek_to_beginning(partition(q))
        seen = line.Seen()
        until_end(source, partition(q), lambda m: seen.add(m.offset, m.timestamp, m.key, m.value, m.headers))
        return seen.answer()
    finally:
        source.close()


def subscribe(source, topic, **more):
    """Subscribes, and waits until the client knows the topic.

    A first join that is faster than the topic's metadata is followed by a second one. kafka-python 3.0.12 starts that one
    without noting that it must join (Kafka's Java client had this until KAFKA-9815): if `poll`'s time ends while it is under
    way, its assignment is never taken over, no heartbeat is sent, and the member is lost for good.
    """
    source.subscribe([topic], **more)
    source.partitions_for_topic(topic)


def process(q):
    """Reads the topic's partition to its end as a member of the group, and writes it in one transaction."""
    source, to = consumer(q, group_id=q["group"]), producer(q, transactional_id=q["transactional_id"])
    try:
        to.init_transactions()
        subscribe(source, q["topic"])
        at = partition(q)
        to.begin_transaction()
        count = 0

        def pass_on(m):
            nonlocal count
            to.send(q["to"], m.value, m.key)
            count += 1

        deadline = time.monotonic() + line.LIMIT_S
        while at not in source.assignment():
            if time.monotonic() > deadline:
                raise TimeoutError("no partition was assigned")
            for messages in source.poll(100).values():
                for message in messages:
                    pass_on(message)
        until_end(source, at, pass_on)
        # An abort would drop what has not been sent.
        to.flush(line.LIMIT_S)
        to.send_offsets_to_transaction({at: OffsetAndMetadata(source.position(at), "", -1)}, source.group_metadata())
        finish(to, q)
        return {"count": count}
    finally:
        source.close()


class Member(ConsumerRebalanceListener):
    """The consumer belongs to one thread; what others are told is noted by it."""

    def __init__(self, q):
        self.assigned, self.consumed, self.failure, self.kind, self.stopped = [], 0, None, None, False
        self.consumer = consumer(
            q, group_id=q["group"], enable_auto_commit=True, auto_commit_interval_ms=200, session_timeout_ms=q["session_ms"],
            heartbeat_interval_ms=q["session_ms"] // 10)
        subscribe(self.consumer, q["topic"], listener=self)
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def on_partitions_revoked(self, revoked):
        self.note()

    def on_partitions_assigned(self, assigned):
        self.note()

    def note(self):
        self.assigned = sorted(p.partition for p in self.consumer.assignment())

    def run(self):
        while not self.stopped:
            try:
                self.consumed += sum(map(len, self.consumer.poll(50).values()))
            except KafkaError as error:
                self.failure, self.kind = str(error), line.kind_of(error)
            self.note()
        self.consumer.close()

    def state(self):
        return {"assigned": self.assigned, "consumed": self.consumed, "failure": self.failure, "failure_kind": self.kind}

    def stop(self):
        self.stopped = True
        self.thread.join()


def member_start(q):
    MEMBERS[q["name"]] = Member(q)


def commit(q):
    source = consumer(q, group_id=q["group"])
    source.assign([partition(q)])
    source.commit({partition(q): OffsetAndMetadata(q["offset"], q.get("metadata", ""), -1)})
    source.close()


def committed(q):
    source = consumer(q, group_id=q["group"])
    found = source.committed(partition(q), metadata=True)
    source.close()
    return {"offset": found.offset if found else -1, "metadata": found.metadata if found else ""}


def with_admin(op):
    def run(q):
        admin = KafkaAdminClient(**base(q))
        try:
            return op(admin, q)
        finally:
            admin.close()
    return run


def create_topic(admin, q):
    options = {"num_partitions": q.get("partitions", 1), "replication_factor": 1, "configs": q.get("configs", {})}
    admin.create_topics({q["topic"]: options})


def describe_topic(admin, q):
    [topic] = admin.describe_topics([q["topic"]])
    return {"partitions": len(topic["partitions"])}


def create_partitions(admin, q):
    admin.create_partitions({q["topic"]: q["total"]})


def delete_topic(admin, q):
    admin.delete_topics([q["topic"]])


def describe_configs(admin, q):
    resource = ConfigResource(ConfigResourceType.TOPIC, q["topic"])
    found = admin.describe_configs([resource], config_filter="all")["topic"][q["topic"]]
    return {"configs": {name: entry["value"] for name, entry in found.items()}}


def alter_configs(admin, q):
    answer = admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, q["topic"], q["configs"])])
    result = answer["topic"][q["topic"]]
    if result not in (None, "OK"):
        raise ValueError(str(result))


def list_groups(admin, q):
    return {"groups": [group["group_id"] for group in admin.list_groups()]}


def describe_group(admin, q):
    group = admin.describe_groups([q["group"]])[q["group"]]
    return {"state": group["group_state"], "members": len(group["members"])}


def delete_group(admin, q):
    result = admin.delete_groups([q["group"]])[q["group"]]
    if result != "OK":
        raise ValueError(result)


def group_offsets(admin, q):
    found = admin.list_group_offsets(q["group"])[q["group"]]
    return {"offsets": {f"{p.topic}-{p.partition}": at.offset for p, at in found.items()}}


def alter_offsets(admin, q):
    for result in admin.alter_group_offsets(q["group"], {partition(q): OffsetAndMetadata(q["offset"], "", -1)}).values():
        if result.errno:
            raise result()


line.serve(line.table(globals(), kafka.__version__), line.wire_name, line.kind_of)
