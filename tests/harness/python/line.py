"""What the peers of this folder share: one JSON request a line on standard input, one JSON answer a line on standard
output, and the records that they make and digest. `harness::peer` describes the operations.
"""

import asyncio
import hashlib
import json
import logging
import random
import re
import ssl
import struct
import sys
import time

LIMIT_S = 60


class Log(logging.Handler):
    """Notes the last refusal of a connection that the libraries name: some say why in their log only."""

    kind = None

    def emit(self, record):
        kind = refused(record.getMessage())
        self.kind = kind or self.kind


def refused(text):
    if "AuthenticationFailed" in text:
        return "authentication"
    return "tls" if re.search(r"\[SSL|SSL\w*Error|certificate", text) else None


LOG = Log(logging.WARNING)
logging.basicConfig(handlers=[LOG], level=logging.WARNING)


def serve(ops, code, kind):
    """Answers requests until standard input ends; `code` gives an error's name in Kafka's own words, `kind` what kind of
    refusal it is."""
    for text in sys.stdin:
        request = json.loads(text)
        LOG.kind = None
        try:
            answer = {"ok": True, **(known(ops, request)(request) or {})}
        except Exception as error:
            answer = refusal(error, code, kind)
        print(json.dumps(answer), flush=True)


async def serve_async(ops, code, kind):
    """As `serve`, for operations that are coroutines; members go on while it waits for a request."""
    loop = asyncio.get_running_loop()
    while text := await loop.run_in_executor(None, sys.stdin.readline):
        request = json.loads(text)
        LOG.kind = None
        try:
            found = await asyncio.wait_for(known(ops, request)(request), LIMIT_S)
            answer = {"ok": True, **(found or {})}
        except Exception as error:
            answer = refusal(error, code, kind)
        print(json.dumps(answer), flush=True)


ADMIN_OPS = (
    "create_topic", "describe_topic", "create_partitions", "delete_topic", "describe_configs", "alter_configs", "list_groups",
    "describe_group", "delete_group", "group_offsets", "alter_offsets")


def table(peer, version):
    """The ops of a peer whose functions have their names: `peer` is its `globals()`, with `MEMBERS` by name, and with
    `with_admin`, which makes an op of a function of an admin client and the request."""
    ops = {op: peer[op] for op in ("produce", "transaction", "process", "consume", "member_start", "commit", "committed")}
    ops.update({op: peer["with_admin"](peer[op]) for op in ADMIN_OPS})
    members = peer["MEMBERS"]
    ops["version"] = lambda q: {"version": version}
    ops["member_state"] = lambda q: members[q["name"]].state()
    ops["member_stop"] = lambda q: members.pop(q["name"]).stop()
    return ops


def known(ops, request):
    if request["op"] not in ops:
        raise ValueError(f"unknown op {request['op']}")
    return ops[request["op"]]


def refusal(error, code, kind):
    return {"ok": False, "code": code(error), "kind": kind(error) or LOG.kind, "message": f"{type(error).__name__}: {error}"}


def records(q):
    """The records that a request asks for: (timestamp or None, key, value, headers), and the digest of them all."""
    chance = random.Random(q.get("seed", 1))
    content, made = Content(), []
    tombstones = q.get("tombstones", False)
    for i in range(q.get("count", 1)):
        size = chance.randint(q.get("min_bytes", 10), q.get("max_bytes", 200))
        if i % 2 == 0:
            value = chance.randbytes(size)
        else:
            text = b'{"order":%d,"state":"paid"}' % i
            value = (text * (size // len(text) + 1))[:size]
        key = None
        if q.get("keys") and not (tombstones and i % 2 == 0):
            key = b"key-%d" % chance.randrange(q["keys"])
        if tombstones and i % 10 == 9:
            value = None
        headers = [("n", str(i).encode())] if i % 3 == 0 else []
        timestamp = q["timestamp_ms"] + i if "timestamp_ms" in q else None
        if timestamp is not None:
            content.add(timestamp, key, value, headers)
        made.append((timestamp, key, value, headers))
    return made, content.digest()


class Pace:
    """Spreads the sending over the time that the request asks for."""

    def __init__(self, q):
        self.started = time.monotonic()
        self.pause_s = q.get("spread_ms", 0) / 1000 / max(1, q.get("count", 1))

    def due_in_s(self, index):
        return max(0.0, self.started + index * self.pause_s - time.monotonic())


class Content:
    """Digests records as every peer does."""

    def __init__(self):
        self.hash = hashlib.sha256()

    def add(self, timestamp_ms, key, value, headers):
        self.hash.update(struct.pack(">q", timestamp_ms))
        self.part(key)
        self.part(value)
        self.hash.update(struct.pack(">i", len(headers)))
        for name, header in headers:
            self.part(name.encode())
            self.part(header)

    def part(self, data):
        self.hash.update(struct.pack(">i", -1 if data is None else len(data)))
        self.hash.update(data or b"")

    def digest(self):
        return self.hash.hexdigest()


class Seen:
    """What a consumer has read."""

    def __init__(self):
        self.count, self.first, self.last = 0, -1, -1
        self.content = Content()

    def add(self, offset, timestamp_ms, key, value, headers):
        if self.count == 0:
            self.first = offset
        self.last = offset
        self.count += 1
        self.content.add(timestamp_ms, key, value, headers)

    def answer(self):
        return {"count": self.count, "first_offset": self.first, "last_offset": self.last, "content": self.content.digest()}


def acked(offsets, content):
    return {"acked": len(offsets), "first_offset": min(offsets), "last_offset": max(offsets), "content": content}


def wire_name(error):
    """`TopicAlreadyExistsError` → `TOPIC_ALREADY_EXISTS`."""
    name = type(error).__name__.removesuffix("Error")
    return "".join("_" + c if c.isupper() and i else c for i, c in enumerate(name)).upper()


def tls(security):
    """The TLS context that a request's `security` asks for, if it asks for one."""
    if "ca" not in security:
        return None
    context = ssl.create_default_context(cafile=security["ca"])
    if "identity" in security:
        context.load_cert_chain(security["identity"])
    return context


def kind_of(error):
    """What kind of refusal an error is, by its name and text."""
    seen = []
    while error is not None and error not in seen:
        seen.append(error)
        text = f"{type(error).__name__}: {error}"
        if "AuthorizationFailed" in text:
            return "authorization"
        if kind := refused(text):
            return kind
        error = error.__cause__ or error.__context__
    return None
