import { deepEqual, equal, match, ok } from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { before, describe, it } from 'node:test'
import { connect } from 'node:tls'
import fc from 'fast-check'
import { type ClientHello, readClientHello } from '../../../src/ingest/tls/client-hello.ts'
import { handmadeHello, handmadeMessage, inRecords, nameExtension, number16, vector } from './handmade-hello.ts'
import { sClient } from './support.ts'

const limit = 16 * 1024
const read = (bytes: Buffer): ClientHello => readClientHello(bytes, limit)
const refusedFor = (bytes: Buffer): string => {
  const found = read(bytes)
  return found.kind === 'refused' ? `${found.reason}: ${found.detail}` : found.kind
}

/** What clients really send. */
async function capture(greet: (port: number) => unknown): Promise<Buffer> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  greet(typeof address === 'object' && address !== null ? address.port : 0)
  const [socket] = await once(server, 'connection')
  const [bytes] = await once(socket, 'data')
  socket.destroy()
  server.close()
  return bytes as Buffer
}

describe('ClientHello', () => {
  let hellos: { readonly name: string | undefined; readonly bytes: Buffer }[] = []
  before(async () => {
    const node = (servername: string, ...versions: ('TLSv1.2' | 'TLSv1.3')[]) =>
      capture((port) => {
        const [version] = versions
        const range = version === undefined ? {} : { minVersion: version, maxVersion: version }
        connect({ port, host: '127.0.0.1', servername, ALPNProtocols: ['mqtt'], ...range }).on('error', () => {})
      })
    const openssl = (...parameters: string[]) => capture((port) => void sClient(port, parameters))
    hellos = [
      { name: 'iot.example.com', bytes: await node('IoT.Example.com') },
      { name: 'a.example.com', bytes: await node('a.example.com', 'TLSv1.2') },
      { name: 'b.example.com', bytes: await node('b.example.com', 'TLSv1.3') },
      { name: undefined, bytes: await node('') },
      { name: 'some_host.example', bytes: await openssl('-servername', 'some_host.example') },
      { name: undefined, bytes: await openssl('-noservername', '-tls1_2') },
      { name: 'made.example', bytes: handmadeHello({ serverName: 'made.example' }) },
    ]
  })

  it('names are read from what clients send, in lower case', () => {
    for (const { name, bytes } of hellos) deepEqual(read(bytes), { kind: 'hello', serverName: name })
  })

  it('cut anywhere it asks for more, at most for what is there, and the rest changes nothing', () => {
    for (const { name, bytes } of hellos) {
      for (let length = 0; length < bytes.length; length++) {
        const found = read(bytes.subarray(0, length))
        ok(found.kind === 'more' && found.need > length && found.need <= bytes.length, `after ${length} bytes`)
      }
      deepEqual(read(Buffer.concat([bytes, Buffer.from('more')])), { kind: 'hello', serverName: name })
    }
  })

  it('split over records, cut anywhere', () => {
    for (const { name, bytes } of hellos) {
      const message = bytes.subarray(5)
      for (const pieces of [1.5, 2, 3, 7, 20, 31]) {
        const split = inRecords(message, Math.ceil(message.length / pieces))
        deepEqual(read(split), { kind: 'hello', serverName: name })
        for (let length = 0; length < split.length; length++) equal(read(split.subarray(0, length)).kind, 'more')
      }
    }
  })

  it('the head of the message split over records', () => {
    const message = handmadeMessage({ serverName: 'a.example' })
    const split = Buffer.concat([
      ...[0, 1, 2, 3].map((at) => inRecords(message.subarray(at, at + 1))),
      inRecords(message.subarray(4)),
    ])
    deepEqual(read(split), { kind: 'hello', serverName: 'a.example' })
  })

  it('what is not TLS is told at its first bytes', () => {
    for (const text of ['GET / HTTP/1.1\r\n\r\n', '\x10\x0c\x00\x04MQTT', '\x16\x02', '\x80\x2e\x01\x03\x01', '\0']) {
      match(refusedFor(Buffer.from(text, 'latin1')), /^not-tls: /)
    }
    match(refusedFor(Buffer.from([21, 3, 3, 0, 2, 2, 40])), /^not-tls: /)
  })

  it('bounds', () => {
    match(refusedFor(Buffer.from([22, 3, 1, 0x40, 1])), /a record of 16385 bytes/)
    match(refusedFor(Buffer.from([22, 3, 1, 0, 0])), /a record of 0 bytes/)
    // Its head says it, so nothing is waited for.
    match(refusedFor(inRecords(Buffer.from([1, 0, 0x40, 0]))), /a ClientHello of 16388 bytes/)
    match(refusedFor(inRecords(handmadeMessage(), 2)), /more than 32 records/)
    const large = handmadeMessage({ extensions: [[21, Buffer.alloc(16_000)]] })
    equal(read(inRecords(large)).kind, 'hello')
    match(refusedFor(inRecords(handmadeMessage({ extensions: [[21, Buffer.alloc(16_384)]] }))), /ClientHello of/)
    match(refusedFor(inRecords(large, 16_384).subarray(0, 5)), /^more$/)
    equal(readClientHello(inRecords(large), 4_096).kind, 'refused')
  })

  it('malformed ones', () => {
    const cases: [RegExp, Buffer][] = [
      [/not a ClientHello/, inRecords(Buffer.concat([Buffer.from([2]), handmadeMessage().subarray(1)]))],
      [/malformed/, inRecords(Buffer.concat([Buffer.from([1]), vector(3, Buffer.alloc(34))]))],
      [/malformed/, inRecords(Buffer.concat([Buffer.from([1]), vector(3, Buffer.alloc(10))]))],
      [/another record/, Buffer.concat([inRecords(handmadeMessage(), 60).subarray(0, 65), Buffer.from([21])])],
      [/two server names/, handmadeHello({ serverName: 'a', extensions: [[0, nameExtension('b')]] })],
    ]
    const names = [
      '',
      '.',
      'a..b',
      '.a',
      'a.',
      'a b',
      'a\0b',
      'ä',
      'a/b',
      '*.a',
      '::1',
      'a'.repeat(64),
      'a.'.repeat(130),
    ]
    for (const name of names) cases.push([/not a host name/, handmadeHello({ serverName: nameExtension(name) })])
    const two = Buffer.concat([nameExtension('a').subarray(2), nameExtension('b').subarray(2)])
    cases.push([/not a host name/, handmadeHello({ serverName: vector(2, two) })])
    cases.push([/not a host name/, handmadeHello({ serverName: Buffer.alloc(0) })])
    cases.push([/not a host name/, handmadeHello({ serverName: number16(5, 0x0101, 1) })])
    for (const [expected, bytes] of cases) match(refusedFor(bytes), expected)
    deepEqual(read(handmadeHello({ serverName: '192.0.2.1' })), { kind: 'hello', serverName: '192.0.2.1' })
  })

  it('without extensions there is no name', () => {
    const message = handmadeMessage()
    const body = Buffer.concat([
      message.subarray(4, 4 + 34),
      vector(1),
      vector(2, number16(47)),
      vector(1, Buffer.from([0])),
    ])
    const bytes = inRecords(Buffer.concat([Buffer.from([1]), vector(3, body)]))
    deepEqual(read(bytes), { kind: 'hello', serverName: undefined })
  })

  const sane = (bytes: Buffer, found: ClientHello): boolean =>
    found.kind !== 'more' || (found.need > bytes.length && found.need <= limit)

  it('any bytes: it never throws, and never asks for more than its bound', () => {
    const noise = fc.uint8Array({ maxLength: 400 }).map((bytes) => Buffer.from(bytes))
    const likeTls = noise.map((bytes) => Buffer.concat([Buffer.from([22, 3, 1]), vector(2, bytes)]))
    const likeHello = noise.map((bytes) => inRecords(Buffer.concat([Buffer.from([1]), vector(3, bytes)])))
    fc.assert(
      fc.property(fc.oneof(noise, likeTls, likeHello), (bytes) => sane(bytes, read(bytes))),
      { numRuns: 5_000 },
    )
  })

  it('damaged ones: bytes changed, put in and taken out', () => {
    const change = fc.record({ at: fc.nat(2_000), kind: fc.constantFrom('set', 'insert', 'remove'), byte: fc.nat(255) })
    fc.assert(
      fc.property(fc.nat(6), fc.array(change, { minLength: 1, maxLength: 6 }), (which, changes) => {
        const bytes = [...(hellos[which % hellos.length]?.bytes ?? [])]
        for (const { at, kind, byte } of changes) {
          const place = at % bytes.length
          bytes.splice(place, kind === 'insert' ? 0 : 1, ...(kind === 'remove' ? [] : [byte]))
        }
        const buffer = Buffer.from(bytes)
        const found = read(buffer)
        if (found.kind === 'hello' && found.serverName !== undefined) match(found.serverName, /^[a-z0-9._-]{1,253}$/)
        return sane(buffer, found)
      }),
      { numRuns: 5_000 },
    )
  })

  it('pieces of any size give what the whole gives', () => {
    fc.assert(
      fc.property(fc.nat(6), fc.array(fc.integer({ min: 1, max: 300 }), { maxLength: 60 }), (which, sizes) => {
        const { bytes, name } = hellos[which % hellos.length] ?? { bytes: Buffer.alloc(0), name: undefined }
        let have = 0
        let need = 1
        for (const size of [...sizes, bytes.length]) {
          have = Math.min(bytes.length, have + size)
          if (have < need) continue
          const found = read(bytes.subarray(0, have))
          if (found.kind === 'hello') return have === bytes.length && found.serverName === name
          if (found.kind !== 'more') return false
          need = found.need
        }
        return false
      }),
      { numRuns: 1_000 },
    )
  })
})
