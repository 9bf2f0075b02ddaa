// What a Node peer needs beside its library: one JSON request a line on standard input, one JSON answer a line on
// standard output, and the records that it makes and digests. `harness::peer` describes the operations.
'use strict'

const crypto = require('crypto')
const readline = require('readline')

const sleep = (ms) => new Promise((done) => setTimeout(done, ms))

// Answers requests until standard input ends; `code` gives an error's name in Kafka's own words, `kind` what kind of
// refusal it is.
async function serve(ops, code, kind) {
  for await (const text of readline.createInterface({ input: process.stdin })) {
    const q = JSON.parse(text)
    let answer
    try {
      if (!ops[q.op]) throw new Error(`unknown op ${q.op}`)
      answer = { ok: true, ...(await ops[q.op](q)) }
    } catch (error) {
      answer = { ok: false, code: code(error), kind: kind(error), message: `${error.name}: ${error.message}` }
    }
    process.stdout.write(JSON.stringify(answer) + '\n')
  }
  process.exit(0)
}

// Digests records as every peer does.
class Content {
  constructor() {
    this.hash = crypto.createHash('sha256')
  }

  add(timestampMs, key, value, headers) {
    const timestamp = Buffer.alloc(8)
    timestamp.writeBigInt64BE(BigInt(timestampMs))
    this.hash.update(timestamp)
    this.part(key)
    this.part(value)
    const entries = Object.entries(headers)
    this.hash.update(int(entries.length))
    for (const [name, header] of entries) {
      this.part(Buffer.from(name))
      this.part(header)
    }
  }

  part(bytes) {
    this.hash.update(int(bytes === null ? -1 : bytes.length))
    if (bytes !== null) this.hash.update(bytes)
  }

  digest() {
    return this.hash.digest('hex')
  }
}

function int(number) {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(number)
  return bytes
}

// The records that a request asks for, and the digest of them all.
function records(q) {
  const content = new Content()
  const made = []
  const least = q.min_bytes ?? 10
  const most = q.max_bytes ?? 200
  for (let i = 0; i < (q.count ?? 1); i++) {
    const size = least + crypto.randomInt(most - least + 1)
    let value = i % 2 === 0 ? crypto.randomBytes(size) : Buffer.alloc(size, `{"order":${i},"state":"paid"}`)
    if (q.tombstones && i % 10 === 9) value = null
    const key = q.keys && !(q.tombstones && i % 2 === 0) ? Buffer.from(`key-${crypto.randomInt(q.keys)}`) : null
    const headers = i % 3 === 0 ? { n: Buffer.from(String(i)) } : {}
    const record = { key, value, headers, partition: q.partition ?? 0 }
    if (q.timestamp_ms) {
      record.timestamp = String(q.timestamp_ms + i)
      content.add(record.timestamp, key, value, headers)
    }
    made.push(record)
  }
  return { made, content: content.digest() }
}

module.exports = { Content, records, serve, sleep }
