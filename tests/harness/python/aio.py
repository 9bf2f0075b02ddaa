"""The aiokafka client as a test peer."""

import asyncio

import aiokafka
import line
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.abc import AbstractTokenProvider
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import for_code
from aiokafka.structs import OffsetAndMetadata

MEMBERS = {}
OPEN = {}
KEPT = {}


class Token(AbstractTokenProvider):
    def __init__(self, token):
        self.value = token

    async def token(self):
        return self.value


def base(q):
    """What every client of a request has."""
    settings = {"bootstrap_servers": q["bootstrap"]}
    if security := q.get("security"):
        settings.update(security_protocol=security["protocol"], ssl_context=line.tls(security))
        if mechanism := security.get("mechanism"):
            settings["sasl_mechanism"] = mechanism
            if mechanism == "OAUTHBEARER":
                settings["sasl_oauth_token_provider"] = Token(security["token"])
            else:
                settings.update(sasl_plain_username=security["user"], sasl_plain_password=security["password"])
    return settings


async def producer(q, **more):
    codec = q.get("compression", "none")
    if q.get("idempotent"):
        more["enable_idempotence"] = True
    if "security" in q:
        # How long a producer whose connections are refused says nothing.
        more["request_timeout_ms"] = 6000
    started = AIOKafkaProducer(
        **base(q), compression_type=None if codec == "none" else codec, acks="all", linger_ms=5, **more)
    await started.start()
    return started


async def produce(q):
    if name := q.get("keep"):
        if name not in KEPT:
            KEPT[name] = await producer(q)
        return await send(KEPT[name], q)
    to = await producer(q)
    try:
        return await send(to, q)
    finally:
        await to.stop()


async def send(to, q):
    made, content = line.records(q)
    pace = line.Pace(q)
    sent = []
    for index, (timestamp, key, value, headers) in enumerate(made):
        sent.append(await to.send(q["topic"], value, key, q.get("partition", 0), timestamp, headers))
        if wait := pace.due_in_s(index):
            await asyncio.sleep(wait)
    return line.acked([(await one).offset for one in sent], content)


async def transaction(q):
    to = OPEN.pop(q["transactional_id"], None)
    if to is None:
        to = await producer(q, transactional_id=q["transactional_id"])
        await to.begin_transaction()
    done = await send(to, q)
    await finish(to, q)
    return done


async def finish(to, q):
    if q["outcome"] == "open":
        OPEN[q["transactional_id"]] = to
        return
    if q["outcome"] == "commit":
        await to.commit_transaction()
    else:
        await to.abort_transaction()
    await to.stop()


def consumer(q, *topics, **more):
    return AIOKafkaConsumer(
        *topics, **base(q), isolation_level=q.get("isolation", "read_uncommitted"),
        auto_offset_reset="earliest", **more)


async def end_of(source, at, q):
    """The end that the request's isolation level can reach: known from the first fetch."""
    if q.get("isolation") != "read_committed":
        return (await source.end_offsets([at]))[at]
    while (end := source.last_stable_offset(at)) in (None, -1):
        await asyncio.sleep(0.05)
    return end


async def until_end(source, at, q, add):
    end = None
    while end is None or await source.position(at) < end:
        batch = await source.getmany(at, timeout_ms=200)
        for message in batch.get(at, []):
            await add(message)
        if end is None:
            end = await end_of(source, at, q)


async def consume(q):
    source = consumer(q, enable_auto_commit=False)
    await source.start()
    try:
        at = TopicPartition(q["topic"], q.get("partition", 0))
        source.assign([at])
        await source.seek_to_beginning(at)
        seen = line.Seen()

        async def add(m):
            seen.add(m.offset, m.timestamp, m.key, m.value, m.headers)

        await until_end(source, at, q, add)
        return seen.answer()
    finally:
        await source.stop()


async def process(q):
    """Reads the topic's partition to its end as a member of the group, and writes it in one transaction."""
    source = consumer(q, q["topic"], group_id=q["group"], enable_auto_commit=False)
    await source.start()
    to = await producer(q, transactional_id=q["transactional_id"])
    try:
        at = TopicPartition(q["topic"], q.get("partition", 0))
        while at not in source.assignment():
            await asyncio.sleep(0.05)
        await to.begin_transaction()
        count = 0

        async def pass_on(m):
            nonlocal count
            await to.send(q["to"], m.value, m.key)
            count += 1

        await until_end(source, at, q, pass_on)
        # An abort would drop what has not been sent.
        await to.flush()
        await to.send_offsets_to_transaction({at: await source.position(at)}, q["group"])
        await finish(to, q)
        return {"count": count}
    finally:
        await source.stop()


class Member(ConsumerRebalanceListener):
    async def start(self, q):
        self.assigned, self.consumed, self.failure, self.kind = [], 0, None, None
        self.consumer = consumer(
            q, group_id=q["group"], session_timeout_ms=q["session_ms"], heartbeat_interval_ms=q["session_ms"] // 10,
            auto_commit_interval_ms=200)
        self.consumer.subscribe([q["topic"]], listener=self)
        await self.consumer.start()
        self.task = asyncio.create_task(self.run())

    async def on_partitions_revoked(self, revoked):
        self.assigned = []

    async def on_partitions_assigned(self, assigned):
        self.assigned = sorted(p.partition for p in assigned)

    async def run(self):
        while True:
            try:
                batch = await self.consumer.getmany(timeout_ms=200)
                self.consumed += sum(map(len, batch.values()))
            except aiokafka.errors.KafkaError as error:
                self.failure, self.kind = str(error), line.kind_of(error)

    def state(self):
        return {"assigned": self.assigned, "consumed": self.consumed, "failure": self.failure, "failure_kind": self.kind}

    async def stop(self):
        self.task.cancel()
        await self.consumer.stop()


async def member_start(q):
    MEMBERS[q["name"]] = Member()
    await MEMBERS[q["name"]].start(q)


async def member_state(q):
    return MEMBERS[q["name"]].state()


async def member_stop(q):
    await MEMBERS.pop(q["name"]).stop()


async def commit(q):
    source = consumer(q, group_id=q["group"])
    await source.start()
    try:
        at = TopicPartition(q["topic"], q.get("partition", 0))
        source.assign([at])
        await source.commit({at: OffsetAndMetadata(q["offset"], q.get("metadata", ""))})
    finally:
        await source.stop()


def with_admin(op):
    async def run(q):
        admin = AIOKafkaAdminClient(**base(q))
        await admin.start()
        try:
            return await op(admin, q)
        finally:
            await admin.close()
    return run


def check(code, *message):
    if code:
        raise for_code(code)(*message)


async def committed(admin, q):
    at = TopicPartition(q["topic"], q.get("partition", 0))
    found = (await admin.list_consumer_group_offsets(q["group"], partitions=[at]))[at]
    return {"offset": found.offset, "metadata": found.metadata}


async def create_topic(admin, q):
    new = NewTopic(q["topic"], q.get("partitions", 1), 1, topic_configs=q.get("configs", {}))
    for _, *refused in (await admin.create_topics([new])).topic_errors:
        check(*refused)


async def describe_topic(admin, q):
    [topic] = await admin.describe_topics([q["topic"]])
    check(topic["error_code"])
    return {"partitions": len(topic["partitions"])}


async def create_partitions(admin, q):
    await admin.create_partitions({q["topic"]: NewPartitions(q["total"])})


async def delete_topic(admin, q):
    for _, *refused in (await admin.delete_topics([q["topic"]])).topic_error_codes:
        check(*refused)


async def describe_configs(admin, q):
    [answer] = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, q["topic"])])
    [resource] = answer.to_object()["resources"]
    check(resource["error_code"], resource["error_message"])
    return {"configs": {entry["config_names"]: entry["config_value"] for entry in resource["config_entries"]}}


async def alter_configs(admin, q):
    [answer] = await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, q["topic"], q["configs"])])
    for code, message, *_ in answer.resources:
        check(code, message)


async def list_groups(admin, q):
    return {"groups": [name for name, *_ in await admin.list_consumer_groups()]}


async def describe_group(admin, q):
    [answer] = await admin.describe_consumer_groups([q["group"]])
    [group] = answer.to_object()["groups"]
    check(group["error_code"])
    return {"state": group["state"], "members": len(group["members"])}


async def group_offsets(admin, q):
    found = await admin.list_consumer_group_offsets(q["group"])
    return {"offsets": {f"{p.topic}-{p.partition}": at.offset for p, at in found.items()}}


async def version(q):
    return {"version": aiokafka.__version__}


asyncio.run(line.serve_async({
    "version": version,
    "produce": produce,
    "transaction": transaction,
    "process": process,
    "consume": consume,
    "member_start": member_start,
    "member_state": member_state,
    "member_stop": member_stop,
    "commit": commit,
    "committed": with_admin(committed),
    "create_topic": with_admin(create_topic),
    "describe_topic": with_admin(describe_topic),
    "create_partitions": with_admin(create_partitions),
    "delete_topic": with_admin(delete_topic),
    "describe_configs": with_admin(describe_configs),
    "alter_configs": with_admin(alter_configs),
    "list_groups": with_admin(list_groups),
    "describe_group": with_admin(describe_group),
    "group_offsets": with_admin(group_offsets),
}, line.wire_name, line.kind_of))
