// The kafkajs client as a test peer.
'use strict'

process.env.KAFKAJS_NO_PARTITIONER_WARNING = '1'

const { CompressionCodecs, CompressionTypes, ConfigResourceTypes, Kafka, logLevel } = require('kafkajs')
const SnappyCodec = require('kafkajs-snappy')
const fzstd = require('fzstd')
const lz4 = require('lz4-napi')
const zstd = require('@bokuweb/zstd-wasm')
const fs = require('fs')
const { Content, records, serve, sleep } = require('./line')

const LIMIT_MS = 60000

// kafkajs has gzip itself; the others are plugged in.
CompressionCodecs[CompressionTypes.Snappy] = SnappyCodec
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: (encoder) => lz4.compressFrame(encoder.buffer),
  decompress: (buffer) => lz4.decompressFrame(buffer),
})
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async (encoder) => (await zstd.init(), Buffer.from(zstd.compress(encoder.buffer, 3))),
  // Of frames that do not tell their size, too: the Java client's.
  decompress: async (buffer) => Buffer.from(fzstd.decompress(buffer)),
})
const CODECS = {
  none: CompressionTypes.None,
  gzip: CompressionTypes.GZIP,
  snappy: CompressionTypes.Snappy,
  lz4: CompressionTypes.LZ4,
  zstd: CompressionTypes.ZSTD,
}

const members = new Map()
const open = new Map()
const kept = new Map()

const client = (q) => new Kafka({
  brokers: [q.bootstrap],
  logLevel: logLevel.NOTHING,
  // It tries again after a refused certificate as after a lost connection.
  retry: { initialRetryTime: 100, retries: q.security ? 3 : 12, maxRetryTime: 2000 },
  // Its default is longer than tests' tokens last: it would log in again with every request.
  reauthenticationThreshold: 1000,
  ...security(q.security),
})

function security(asked) {
  const secure = {}
  if (asked?.ca) secure.ssl = { ca: [fs.readFileSync(asked.ca)] }
  if (asked?.identity) {
    const pem = fs.readFileSync(asked.identity)
    Object.assign(secure.ssl, { key: pem, cert: pem })
  }
  if (asked?.mechanism === 'OAUTHBEARER') {
    secure.sasl = { mechanism: 'oauthbearer', oauthBearerProvider: async () => ({ value: asked.token }) }
  } else if (asked?.mechanism) {
    secure.sasl = { mechanism: asked.mechanism.toLowerCase(), username: asked.user, password: asked.password }
  }
  return secure
}

// What kind of refusal an error is: the library wraps it, or has its cause as text only.
function kind(error) {
  for (let e = error; e; e = e.cause ?? e.originalError) {
    if (e.name === 'KafkaJSSASLAuthenticationError') return 'authentication'
    if (e.type?.endsWith('_AUTHORIZATION_FAILED')) return 'authorization'
    if (/certificate|SSL|TLS|altnames/.test(e.message)) return 'tls'
  }
  return null
}

// Connects what a library call needs, and closes it whatever happens.
async function using(part, work) {
  await part.connect()
  try {
    return await work(part)
  } finally {
    await part.disconnect()
  }
}

// In portions, so that a connection that breaks is met by sends before, during and after.
async function send(producer, q) {
  const { made, content } = records(q)
  const size = q.spread_ms ? Math.ceil(made.length / 60) : made.length
  const started = Date.now()
  let first = null
  let last = null
  for (let at = 0; at < made.length; at += size) {
    const messages = made.slice(at, at + size)
    const [answer] = await producer.send({ topic: q.topic, acks: -1, compression: CODECS[q.compression ?? 'none'], messages })
    first ??= Number(answer.baseOffset)
    last = Number(answer.baseOffset) + messages.length - 1
    await sleep(Math.max(0, started + ((q.spread_ms ?? 0) * at) / made.length - Date.now()))
  }
  return { acked: made.length, first_offset: first, last_offset: last, content }
}

const producerOf = (q) => client(q).producer(q.idempotent ? { idempotent: true, maxInFlightRequests: 1 } : {})

async function produce(q) {
  if (!q.keep) return using(producerOf(q), (producer) => send(producer, q))
  if (!kept.has(q.keep)) {
    const producer = producerOf(q)
    await producer.connect()
    kept.set(q.keep, producer)
  }
  return send(kept.get(q.keep), q)
}

async function transactional(q) {
  const producer = client(q).producer({ idempotent: true, maxInFlightRequests: 1, transactionalId: q.transactional_id })
  await producer.connect()
  return producer
}

async function transaction(q) {
  let held = open.get(q.transactional_id)
  open.delete(q.transactional_id)
  if (!held) {
    const producer = await transactional(q)
    held = { producer, running: await producer.transaction() }
  }
  const { producer, running } = held
  const done = await send(running, q)
  if (q.outcome === 'open') {
    open.set(q.transactional_id, held)
    return done
  }
  await (q.outcome === 'commit' ? running.commit() : running.abort())
  await producer.disconnect()
  return done
}

const consumer = (q, more) => client(q).consumer({
  readUncommitted: q.isolation !== 'read_committed',
  maxWaitTimeInMs: 100,
  ...more,
})

const ends = (q) => using(client(q).admin(), async (admin) => {
  const all = await admin.fetchTopicOffsets(q.topic)
  return Number(all.find((p) => p.partition === (q.partition ?? 0)).high)
})

// Hands one partition's batches to `take` until it says that it has enough, or nothing more came for a moment: with
// read_committed the end that can be reached is not told.
async function follow(source, q, end, take) {
  let next = 0
  let movedAt = null
  let failure = null
  // A batch of which nothing is visible is not handed on.
  source.on('consumer.fetch', () => { movedAt ??= Date.now() })
  await source.subscribe({ topics: [q.topic], fromBeginning: true })
  await source.run({
    autoCommit: false,
    eachBatchAutoResolve: false,
    eachBatch: async ({ batch, resolveOffset }) => {
      if (batch.partition !== (q.partition ?? 0)) return
      try {
        for (const message of batch.messages) {
          await take(message)
          resolveOffset(message.offset)
        }
      } catch (error) {
        failure = error
      }
      next = Number(batch.lastOffset()) + 1
      movedAt = Date.now()
    },
  })
  const deadline = Date.now() + LIMIT_MS
  const quiet = () => q.isolation === 'read_committed' && Date.now() > (movedAt ?? deadline) + 2000
  while (next < end && !failure && !quiet()) {
    if (Date.now() > deadline) throw new Error(`still at ${next} of ${end}`)
    await sleep(20)
  }
  if (failure) throw failure
}

// kafkajs reads as a member of a group only, so each reading is a group of its own.
async function consume(q) {
  const content = new Content()
  const seen = { count: 0, first_offset: -1, last_offset: -1 }
  const end = await ends(q)
  if (end > 0) {
    const groupId = `reading-${process.pid}-${process.hrtime.bigint()}`
    await using(consumer(q, { groupId }), (source) => follow(source, q, end, (m) => {
      if (seen.count === 0) seen.first_offset = Number(m.offset)
      seen.last_offset = Number(m.offset)
      seen.count += 1
      content.add(m.timestamp, m.key, m.value, m.headers)
    }))
  }
  return { ...seen, content: content.digest() }
}

// Reads the topic's partition to its end as a member of the group, and writes it in one transaction.
async function process_(q) {
  const end = await ends(q)
  const producer = await transactional(q)
  const running = await producer.transaction()
  let count = 0
  let last = -1
  await using(consumer(q, { groupId: q.group }), async (source) => {
    await follow(source, q, end, async (m) => {
      await running.send({ topic: q.to, messages: [{ key: m.key, value: m.value }] })
      count += 1
      last = Number(m.offset)
    })
    const partitions = [{ partition: q.partition ?? 0, offset: String(last + 1) }]
    await running.sendOffsets({ consumerGroupId: q.group, topics: [{ topic: q.topic, partitions }] })
    await (q.outcome === 'commit' ? running.commit() : running.abort())
  })
  await producer.disconnect()
  return { count }
}

async function memberStart(q) {
  const member = { assigned: [], consumed: 0, failure: null, failure_kind: null, stopped: false }
  members.set(q.name, member)
  await join(member, q)
}

async function join(member, q) {
  const source = consumer(q, {
    groupId: q.group, sessionTimeout: q.session_ms, heartbeatInterval: q.session_ms / 10, rebalanceTimeout: q.session_ms,
  })
  member.consumer = source
  source.on('consumer.group_join', ({ payload }) => {
    member.assigned = [...(payload.memberAssignment[q.topic] ?? [])].sort((a, b) => a - b)
  })
  source.on('consumer.rebalancing', () => { member.assigned = [] })
  source.on('consumer.crash', async ({ payload }) => {
    member.failure = String(payload.error)
    member.failure_kind = kind(payload.error)
    // After a refusal the library gives up, and leaves it to the application to start again.
    while (!payload.restart && !member.stopped && member.consumer === source) {
      await sleep(500)
      await join(member, q).catch((error) => { member.failure = String(error) })
    }
  })
  await source.connect()
  await source.subscribe({ topics: [q.topic], fromBeginning: true })
  await source.run({
    autoCommitInterval: 200,
    eachMessage: async () => { member.consumed += 1 },
  })
}

const memberState = async ({ name }) => {
  const { assigned, consumed, failure, failure_kind } = members.get(name)
  return { assigned, consumed, failure, failure_kind }
}

async function memberStop({ name }) {
  members.get(name).stopped = true
  await members.get(name).consumer.disconnect()
  members.delete(name)
}

// kafkajs commits as a running member of the group only.
const commit = (q) => using(consumer(q, { groupId: q.group }), async (source) => {
  const joined = new Promise((done) => { source.on('consumer.group_join', done) })
  await source.subscribe({ topics: [q.topic] })
  await source.run({ autoCommit: false, eachMessage: async () => {} })
  await joined
  const { topic, partition = 0, offset, metadata } = q
  await source.commitOffsets([{ topic, partition, offset: String(offset), metadata }])
})

const withAdmin = (op) => (q) => using(client(q).admin(), (admin) => op(admin, q))

const adminOps = {
  create_topic: async (admin, q) => {
    const configEntries = Object.entries(q.configs ?? {}).map(([name, value]) => ({ name, value }))
    const topics = [{ topic: q.topic, numPartitions: q.partitions ?? 1, replicationFactor: 1, configEntries }]
    if (!(await admin.createTopics({ topics }))) throw new Error('TOPIC_ALREADY_EXISTS')
  },
  describe_topic: async (admin, q) => {
    const { topics } = await admin.fetchTopicMetadata({ topics: [q.topic] })
    return { partitions: topics[0].partitions.length }
  },
  create_partitions: async (admin, q) => {
    await admin.createPartitions({ topicPartitions: [{ topic: q.topic, count: q.total }] })
  },
  delete_topic: async (admin, q) => { await admin.deleteTopics({ topics: [q.topic] }) },
  describe_configs: async (admin, q) => {
    const resources = [{ type: ConfigResourceTypes.TOPIC, name: q.topic }]
    const answer = await admin.describeConfigs({ includeSynonyms: false, resources })
    const entries = answer.resources[0].configEntries
    return { configs: Object.fromEntries(entries.map((e) => [e.configName, e.configValue])) }
  },
  alter_configs: async (admin, q) => {
    const configEntries = Object.entries(q.configs).map(([name, value]) => ({ name, value }))
    const resources = [{ type: ConfigResourceTypes.TOPIC, name: q.topic, configEntries }]
    await admin.alterConfigs({ validateOnly: false, resources })
  },
  list_groups: async (admin) => ({ groups: (await admin.listGroups()).groups.map((g) => g.groupId) }),
  describe_group: async (admin, q) => {
    const [group] = (await admin.describeGroups([q.group])).groups
    return { state: group.state, members: group.members.length }
  },
  delete_group: async (admin, q) => { await admin.deleteGroups([q.group]) },
  group_offsets: async (admin, q) => {
    const offsets = {}
    for (const { topic, partitions } of await admin.fetchOffsets({ groupId: q.group })) {
      for (const { partition, offset } of partitions) offsets[`${topic}-${partition}`] = Number(offset)
    }
    return { offsets }
  },
  alter_offsets: async (admin, q) => {
    const partitions = [{ partition: q.partition ?? 0, offset: String(q.offset) }]
    await admin.setOffsets({ groupId: q.group, topic: q.topic, partitions })
  },
  committed: async (admin, q) => {
    const [{ partitions }] = await admin.fetchOffsets({ groupId: q.group, topics: [q.topic] })
    const found = partitions.find((p) => p.partition === (q.partition ?? 0))
    return { offset: Number(found?.offset ?? -1), metadata: found?.metadata ?? '' }
  },
}

const ops = {
  version: async () => ({ version: require('kafkajs/package.json').version }),
  produce,
  transaction,
  process: process_,
  consume,
  commit,
  member_start: memberStart,
  member_state: memberState,
  member_stop: memberStop,
}
for (const [name, op] of Object.entries(adminOps)) ops[name] = withAdmin(op)

serve(ops, (error) => error.type ?? error.cause?.type ?? error.name, kind)
