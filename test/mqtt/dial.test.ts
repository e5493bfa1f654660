import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import type { Connection } from '../../src/mqtt/connection.ts'
import { createDialer, type DialOptions } from '../../src/mqtt/dial.ts'
import type { ReceivedPublish } from '../../src/mqtt/publish.ts'
import { BrokerRefusedError } from '../../src/mqtt/refusal.ts'
import { makeCertificates } from '../support/certificates.ts'
import { freePort, type Scope, temporaryFolder, until } from '../support/cleanup.ts'
import { startMosquitto } from '../support/mosquitto.ts'
import { startScriptedBroker } from '../support/mqtt.ts'

const fields = { clientId: 'c', clean: true, sessionExpirySeconds: 0, keepaliveMs: 30_000 }
const never = new AbortController().signal

async function dial(
  scope: Scope,
  url: string,
  options: Partial<DialOptions> = {},
): Promise<Connection & { readonly got: ReceivedPublish[] }> {
  const got: ReceivedPublish[] = []
  const connection = await createDialer({ ...fields, url, ...options }).dial(
    { publish: (m) => void got.push(m) },
    never,
  )
  scope.after(() => connection.destroy())
  return Object.assign(connection, { got })
}

describe('dial', () => {
  it('speaks MQTT 5, subscribes, unsubscribes and says goodbye', async (t) => {
    const broker = await startMosquitto(t)
    const connection = await dial(t, broker.url, { receiveMaximum: 10 })
    assert.equal(connection.version, 5)
    connection.resume()
    assert.deepEqual(await connection.subscribe([{ topic: 'a/#', qos: 1 }]), [1])
    connection.publish({ topic: 'a/b', payload: Buffer.from('x'), qos: 1, retain: false }, 1)
    await until('the message', () => connection.got.length === 1)
    await connection.unsubscribe(['a/#'])
    await connection.ping()
    await connection.disconnect()
    assert.equal((await connection.closed).by, 'us')
    assert.match(broker.output(), /Client c disconnected\./)
  })

  it('hands over nothing before it is resumed, and everything then', async (t) => {
    const broker = await startScriptedBroker(t)
    broker.connack = () => {
      queueMicrotask(() => broker.send({ cmd: 'publish', topic: 'a', payload: 'x', qos: 0, dup: false, retain: false }))
      return {}
    }
    const connection = await dial(t, broker.url)
    const ping = connection.ping()
    await until('the PINGREQ', () => broker.got.some(({ cmd }) => cmd === 'pingreq'))
    assert.equal(connection.got.length, 0)
    connection.resume()
    await ping
    assert.equal(connection.got.length, 1)
  })

  for (const how of ['with return code 1', 'by closing'] as const) {
    it(`falls back to 3.1.1 where the broker refuses MQTT 5 ${how}`, async (t) => {
      const broker = await startScriptedBroker(t)
      broker.connack = (version) => {
        if (version === 4) return {}
        if (how === 'by closing') broker.sockets.at(-1)?.destroy()
        return how === 'by closing' ? undefined : { reasonCode: 1 }
      }
      const dialer = createDialer({ ...fields, url: broker.url })
      const tries = () => broker.got.flatMap((packet) => (packet.cmd === 'connect' ? [packet.protocolVersion] : []))
      const first = await dialer.dial({}, never)
      assert.deepEqual([first.version, tries()], [4, [5, 4]])
      const second = await dialer.dial({}, never)
      // One that said so is not asked again; one that only closed may have had another reason.
      assert.deepEqual([second.version, tries()], [4, how === 'by closing' ? [5, 4, 5, 4] : [5, 4, 4]])
      first.destroy()
      second.destroy()
    })
  }

  const refusals: readonly [version: 4 | 5, code: number, kind: string, text: RegExp][] = [
    [5, 0x86, 'credential', /bad user name or password, code 134 \(go away\)$/],
    [5, 0x88, 'busy', /server unavailable/],
    [5, 0x85, 'settings', /client id not valid/],
    [4, 4, 'credential', /bad user name or password, code 4$/],
    [4, 3, 'busy', /server unavailable/],
  ]
  for (const [version, code, kind, text] of refusals) {
    it(`says why it was refused: ${code} is ${kind}`, async (t) => {
      const broker = await startScriptedBroker(t)
      broker.connack = (asked) =>
        asked === version
          ? { reasonCode: code, returnCode: code, properties: { reasonString: 'go away' } }
          : { reasonCode: 1 }
      await assert.rejects(dial(t, broker.url), (error: unknown) => {
        assert.ok(error instanceof BrokerRefusedError && error.code === 'BROKER_REFUSED')
        assert.equal(error.kind, kind)
        assert.match(error.message, text)
        return true
      })
    })
  }

  it('says what a wrong password is', async (t) => {
    const folder = await temporaryFolder(t)
    const file = join(folder, 'passwords')
    execFileSync('mosquitto_passwd', ['-b', '-c', file, 'u', 'right'])
    const broker = await startMosquitto(t, { folder, lines: ['allow_anonymous false', `password_file ${file}`] })
    const message = 'the broker refused us: not authorized, code 135'
    await assert.rejects(dial(t, broker.url, { username: 'u', password: 'wrong' }), { code: 'BROKER_REFUSED', message })
    await dial(t, broker.url, { username: 'u', password: 'right' })
  })

  it('trusts the authority it is given and no other, and checks the name', async (t) => {
    const folder = await temporaryFolder(t)
    const { ca, cert, key } = await makeCertificates(t)
    await Promise.all([writeFile(join(folder, 'c.pem'), cert), writeFile(join(folder, 'c.key'), key)])
    const lines = [`certfile ${join(folder, 'c.pem')}`, `keyfile ${join(folder, 'c.key')}`]
    const broker = await startMosquitto(t, { folder, lines })
    const url = broker.url.replace('mqtt:', 'mqtts:')
    assert.equal((await dial(t, url, { tls: { ca } })).version, 5)
    const distrusted = { code: 'BROKER_REFUSED', kind: 'credential' }
    await assert.rejects(dial(t, url), { ...distrusted, message: /no TLS connection.*unable to verify/ })
    await assert.rejects(dial(t, url, { tls: { ca, servername: 'other' } }), { ...distrusted, message: /other/ })
    await assert.rejects(dial(t, url, { tls: { ca: 'nonsense' } }), distrusted)
  })

  it('says that nobody answers, and where', async (t) => {
    const port = await freePort()
    const message = new RegExp(`127.0.0.1:${port} can't be reached`)
    await assert.rejects(dial(t, `mqtt://127.0.0.1:${port}`), { code: 'BROKER_AWAY', message })
    const mute = await startScriptedBroker(t)
    mute.connack = () => undefined
    await assert.rejects(dial(t, mute.url, { connectTimeoutMs: 50 }), { code: 'BROKER_AWAY', message: /within 50 ms/ })
    await assert.rejects(createDialer({ ...fields, url: mute.url }).dial({}, AbortSignal.abort(new Error('enough'))), {
      code: 'BROKER_AWAY',
    })
    assert.throws(() => createDialer({ ...fields, url: 'http://x' }), { code: 'WRONG_USE' })
    assert.throws(
      () => createDialer({ ...fields, url: 'mqtt://u:geheim@x' }),
      (error: Error) => !error.message.includes('geheim'),
    )
  })

  it('survives whatever bytes come, before and after CONNACK', async (t) => {
    let answer: Buffer = Buffer.alloc(0)
    const server = createServer((socket) => {
      socket.on('error', () => {})
      socket.on('data', () => socket.end(answer))
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    t.after(() => server.close())
    const address = server.address()
    assert.ok(address !== null && typeof address === 'object')
    const url = `mqtt://127.0.0.1:${address.port}`
    const connack = Buffer.from([0x20, 3, 0, 0, 0])
    const types = fc.constantFrom(0x30, 0x32, 0x40, 0x62, 0x90, 0xb0, 0xd0, 0xe0)
    const packets = fc
      .array(fc.tuple(types, fc.uint8Array({ maxLength: 40 })), { maxLength: 4 })
      .map((list) =>
        Buffer.concat(list.flatMap(([type, body]) => [Buffer.from([type, body.length]), Buffer.from(body)])),
      )
    const noise = fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes))
    await fc.assert(
      fc.asyncProperty(fc.boolean(), fc.oneof(packets, noise), async (greeted, bytes) => {
        answer = greeted ? Buffer.concat([connack, bytes]) : bytes
        const connection = await createDialer({ ...fields, url })
          .dial({}, never)
          .catch((error: unknown) => error)
        if (connection instanceof Error)
          return assert.match(String('code' in connection && connection.code), /^BROKER_/)
        const open = connection as Connection
        const subscribed = open.subscribe([{ topic: 'a', qos: 1 }]).catch((error: unknown) => error)
        open.resume()
        assert.ok((await open.closed).reason.length > 0)
        await subscribed
      }),
      { numRuns: 150 },
    )
  })
})

describe('keepalive', () => {
  it('takes a broker for dead that does not answer, but not while we do not read', async (t) => {
    const broker = await startScriptedBroker(t)
    broker.onPacket = () => {}
    const connection = await dial(t, broker.url, { keepaliveMs: 40 })
    const pings = () => broker.got.filter(({ cmd }) => cmd === 'pingreq').length
    await until('many pings of a paused connection', () => pings() >= 10)
    assert.equal(await Promise.race([connection.closed, Promise.resolve('open')]), 'open')
    connection.resume()
    assert.deepEqual(await connection.closed, { by: 'network', reason: 'the broker did not answer PINGREQ' })
  })

  it('goes on with a broker that answers, at the interval that the broker wants', async (t) => {
    const broker = await startScriptedBroker(t)
    broker.connack = () => ({ properties: { serverKeepAlive: 1 } })
    const connection = await dial(t, broker.url, { keepaliveMs: 3_600_000 })
    connection.resume()
    await until(
      'more pings than a dead broker would get',
      () => broker.got.filter(({ cmd }) => cmd === 'pingreq').length > 4,
    )
    assert.equal(await Promise.race([connection.closed, Promise.resolve('open')]), 'open')
  })
})
