import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { createServer as createNetServer } from 'node:net'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { Aedes } from 'aedes'
import type { Credential } from '../../src/core/credential.ts'
import type { Forwarder } from '../../src/core/forwarder.ts'
import { silent } from '../../src/core/log.ts'
import { mqtt } from '../../src/forwarders/mqtt.ts'
import type { MqttItem } from '../../src/forwarders/mqtt-settings.ts'
import { forwarderConformance } from '../conformance/forwarder.ts'
import { makeCertificates } from '../support/certificates.ts'
import { freePort, type Scope, temporaryFolder, until } from '../support/cleanup.ts'
import { itemOf, type ItemParts } from '../support/items.ts'
import { type MosquittoServer, startMosquitto } from '../support/mosquitto.ts'
import { mqttClient, startScriptedBroker } from '../support/mqtt.ts'

const password = 'the-password-of-the-tests'
const credential: Credential = { use: 'mqtt', username: 'worker', password }
type Arrived = {
  readonly topic: string
  readonly payload: string
  readonly properties: object | undefined
  readonly retain: boolean
  readonly qos: number
}

/** A mosquitto that wants a password and has an access list. */
async function startGuarded(scope: Scope, acl: readonly string[] = ['topic readwrite #']): Promise<MosquittoServer> {
  const folder = await temporaryFolder(scope)
  const [passwords, access] = [join(folder, 'passwords'), join(folder, 'acl')]
  execFileSync('mosquitto_passwd', ['-b', '-c', passwords, 'worker', password])
  execFileSync('mosquitto_passwd', ['-b', passwords, 'watcher', 'watcher'])
  await writeFile(access, ['user watcher', 'topic read #', 'user worker', ...acl, ''].join('\n'))
  return startMosquitto(scope, {
    folder,
    lines: ['allow_anonymous false', `password_file ${passwords}`, `acl_file ${access}`],
  })
}

async function watch(scope: Scope, url: string): Promise<Arrived[]> {
  const arrived: Arrived[] = []
  const client = await mqttClient(scope, url, { username: 'watcher', password: 'watcher' })
  client.on('message', (topic, payload, { properties, retain, qos }) => {
    arrived.push({ topic, payload: payload.toString(), properties, retain, qos })
  })
  await client.subscribeAsync('#', { qos: 1 })
  return arrived
}

forwarderConformance({
  definition: mqtt,
  async taking(scope) {
    const broker = await startGuarded(scope)
    const arrived = await watch(scope, broker.url)
    return { settings: { url: broker.url }, credential, arrived: () => arrived.length }
  },
  away: async () => ({ settings: { url: `mqtt://127.0.0.1:${await freePort()}` }, credential }),
  async hanging(scope) {
    const broker = await startScriptedBroker(scope)
    return {
      settings: { url: broker.url },
      credential,
      received: () => broker.got.some(({ cmd }) => cmd === 'publish'),
    }
  },
  blocked: {
    'the password is wrong': async (scope) => ({
      settings: { url: (await startGuarded(scope)).url },
      credential: { use: 'mqtt', username: 'worker', password: `not ${password}` },
    }),
    'the worker may publish nothing': async (scope) => ({
      settings: { url: (await startGuarded(scope, ['topic read x'])).url },
      credential,
    }),
    'the certificate is not one that we trust': async (scope) => ({
      settings: { url: (await startSecure(scope)).url },
      credential,
    }),
    'the credential would travel in clear text': async () => ({
      settings: { url: 'mqtt://elsewhere.invalid' },
      credential,
    }),
    'the broker takes QoS 0 only': async (scope) => {
      const broker = await startScriptedBroker(scope)
      broker.connack = () => ({ properties: { maximumQoS: 0 } })
      return { settings: { url: broker.url }, credential }
    },
  },
  bad: {
    'a wildcard in the topic': itemOf({ with: { topic: 'a/+' } }),
    'a topic with "$" in front': itemOf({ with: { topic: '$SYS/x' } }),
    'a message that goes round': itemOf({ properties: { userProperties: [['sluice-hops', '8']] } }),
    'a property with U+0000': itemOf({ with: { contentType: 'a\0b' } }),
  },
  needed: { topic: 'out/1' },
  options: { qos: 1, contentType: 'text/plain', userProperties: { a: 'b' }, messageExpiry: '60' },
  secrets: [password],
})

async function startSecure(scope: Scope): Promise<MosquittoServer & { readonly ca: string }> {
  const folder = await temporaryFolder(scope)
  const { ca, cert, key } = await makeCertificates(scope)
  await Promise.all([writeFile(join(folder, 'server.pem'), cert), writeFile(join(folder, 'server.key'), key)])
  const files = [`certfile ${join(folder, 'server.pem')}`, `keyfile ${join(folder, 'server.key')}`]
  const broker = await startMosquitto(scope, { folder, lines: files })
  return { ...broker, url: broker.url.replace('mqtt:', 'mqtts:'), ca }
}

async function open(scope: Scope, settings: object, own?: Credential): Promise<Forwarder<MqttItem['with']>> {
  const forwarder = await mqtt.open(mqtt.settings.parse(settings), {
    worker: 'w',
    signal: new AbortController().signal,
    log: silent,
    ...(own !== undefined && { credential: own }),
  })
  scope.after(() => forwarder.close())
  return forwarder
}

function messageOf(options: object, parts: ItemParts = {}): MqttItem {
  return { ...itemOf(parts), with: mqtt.with.parse({ topic: 'out/1', ...options }) }
}

const never = new AbortController().signal

describe('mqtt, what arrives', () => {
  it('publishes with topic, QoS, retain and the MQTT 5 properties that the rule says', async (t) => {
    const broker = await startMosquitto(t)
    const arrived = await watch(t, broker.url)
    const forwarder = await open(t, { url: broker.url })
    const options = {
      topic: '$$special/1',
      retain: true,
      contentType: 'application/json',
      responseTopic: 'back/1',
      correlationData: 'AAEC',
      payloadFormatIndicator: 'UTF8_DATA',
      messageExpiry: '60',
      userProperties: [
        { key: 'a', value: '1' },
        { key: 'a', value: '' },
        { key: '__proto__', value: 'x' },
      ],
    }
    const client = await mqttClient(t, broker.url)
    const special: { readonly correlationData?: Buffer }[] = []
    client.on('message', (_topic, _payload, { properties }) => special.push({ ...properties }))
    await client.subscribeAsync('$special/#', { qos: 1 })
    const outcomes = await forwarder.send(
      [messageOf(options), messageOf({ qos: 0 }), messageOf({ userProperties: { b: 2 } })],
      never,
    )
    assert.deepEqual(outcomes, [{ kind: 'delivered' }, { kind: 'delivered' }, { kind: 'delivered' }])
    await until('all of them', () => special.length === 1 && arrived.length === 2)
    const { correlationData, ...properties } = special[0] ?? {}
    assert.deepEqual(correlationData, Buffer.from([0, 1, 2]))
    assert.deepEqual(JSON.parse(JSON.stringify(properties)), {
      payloadFormatIndicator: true,
      messageExpiryInterval: 60,
      contentType: 'application/json',
      responseTopic: 'back/1',
      userProperties: JSON.parse('{"a":["1",""],"__proto__":"x","sluice-hops":"1"}'),
    })
    assert.deepEqual(
      arrived.map(({ qos }) => qos),
      [0, 1],
    )
  })

  it('counts how often a message has gone through Sluice, and cannot be told otherwise', async (t) => {
    const broker = await startMosquitto(t)
    const arrived = await watch(t, broker.url)
    const forwarder = await open(t, { url: broker.url, maxHops: 3 })
    const withHops = (...hops: string[]) =>
      messageOf(
        { userProperties: { 'sluice-hops': '0' } },
        { properties: { userProperties: hops.map((value) => ['sluice-hops', value] as const) } },
      )
    const outcomes = await forwarder.send(
      [withHops(), withHops('2'), withHops('3'), withHops('0', '3'), withHops('x')],
      never,
    )
    assert.deepEqual(
      outcomes.map(({ kind }) => kind),
      ['delivered', 'delivered', 'rejected', 'rejected', 'delivered'],
    )
    await until('three of them', () => arrived.length === 3)
    const counts = arrived.map(({ properties }) => (properties as { userProperties: object }).userProperties)
    assert.deepEqual(JSON.parse(JSON.stringify(counts)), [
      { 'sluice-hops': '1' },
      { 'sluice-hops': '3' },
      { 'sluice-hops': '1' },
    ])
  })

  it('speaks TLS with an authority of its own', async (t) => {
    const broker = await startSecure(t)
    const forwarder = await open(t, { url: broker.url, tls: { ca: broker.ca } })
    assert.deepEqual(await forwarder.send([messageOf({})], never), [{ kind: 'delivered' }])
  })

  it('keeps to the receive maximum of the broker, and uses all of it', async (t) => {
    const broker = await startScriptedBroker(t)
    broker.connack = () => ({ properties: { receiveMaximum: 5 } })
    let open5 = 0
    let most = 0
    broker.onPacket = (packet, _socket, send) => {
      if (packet.cmd !== 'publish') return
      most = Math.max(most, (open5 += 1))
      setImmediate(() => {
        open5 -= 1
        send({ cmd: 'puback', messageId: packet.messageId ?? 0, reasonCode: 0 })
      })
    }
    const forwarder = await open(t, { url: broker.url })
    const batches = [1, 2, 3].map(() =>
      forwarder.send(
        Array.from({ length: 100 }, () => messageOf({})),
        never,
      ),
    )
    for (const outcomes of await Promise.all(batches)) assert.ok(outcomes.every(({ kind }) => kind === 'delivered'))
    assert.equal(most, 5)
    const ids = broker.got.map(({ messageId }) => messageId).filter((id) => id !== undefined)
    assert.equal(ids.length, 300)
  })
})

describe('mqtt, what answers mean', () => {
  const cases: readonly [reason: number, expected: string, answered?: boolean][] = [
    [0x00, 'delivered'],
    [0x10, 'delivered'],
    [0x80, 'retry', true],
    [0x83, 'retry', true],
    [0x90, 'rejected'],
    [0x91, 'retry', false],
    [0x97, 'retry', false],
    [0x99, 'rejected'],
  ]
  for (const [reasonCode, kind, answered] of cases) {
    it(`0x${reasonCode.toString(16)} is ${kind}`, async (t) => {
      const broker = await startScriptedBroker(t)
      broker.onPacket = ({ cmd, messageId = 0 }, _socket, send) => {
        if (cmd === 'publish') send({ cmd: 'puback', messageId, reasonCode })
      }
      const [outcome] = await (await open(t, { url: broker.url })).send([messageOf({})], never)
      assert.equal(outcome?.kind, kind)
      if (outcome?.kind === 'retry') assert.equal(outcome.answered, answered)
    })
  }

  it('rejects a topic that is not allowed when others are, and is blocked when it is the only one', async (t) => {
    const broker = await startGuarded(t, ['topic write out/#'])
    const alone = await open(t, { url: broker.url }, credential)
    const outcomes = await alone.send([messageOf({ topic: 'no/1' }), messageOf({ topic: 'no/1' })], never)
    assert.deepEqual(
      outcomes.map(({ kind }) => kind),
      ['blocked', 'blocked'],
    )
    const among = await open(t, { url: broker.url }, credential)
    const items = ['out/1', 'no/1', 'out/2', 'no/2'].map((topic) => messageOf({ topic }))
    const said = new Map<string, string>()
    // This broker closes the connection on each refusal, so it takes several rounds, as delivery/ would go.
    await until('an answer for each', async () => {
      const left = items.filter(({ with: { topic } }) => !said.has(topic))
      const outcomes = await among.send(left, never)
      for (const [index, { with: options }] of left.entries()) {
        const kind = outcomes[index]?.kind
        if (kind !== undefined && kind !== 'retry') said.set(options.topic, kind)
      }
      return said.size === items.length
    })
    assert.deepEqual(Object.fromEntries(said), {
      'out/1': 'delivered',
      'no/1': 'rejected',
      'out/2': 'delivered',
      'no/2': 'rejected',
    })
  })

  it('says of a connection that ends that nothing was answered, and connects again', async (t) => {
    const broker = await startMosquitto(t)
    const forwarder = await open(t, { url: broker.url })
    assert.deepEqual(await forwarder.send([messageOf({})], never), [{ kind: 'delivered' }])
    await broker.stop('SIGKILL')
    const [outcome] = await forwarder.send([messageOf({})], never)
    assert.equal(outcome?.kind === 'retry' && outcome.answered, false)
    await assert.rejects(async () => forwarder.check?.(never), { code: 'BROKER_AWAY' })
    await startMosquitto(t, { port: broker.port })
    await forwarder.check?.(never)
    assert.deepEqual(await forwarder.send([messageOf({})], never), [{ kind: 'delivered' }])
  })

  it('knows what is too large for the broker before it is thrown out for it', async (t) => {
    const broker = await startScriptedBroker(t)
    broker.connack = () => ({ properties: { maximumPacketSize: 100, retainAvailable: false } })
    broker.onPacket = ({ cmd, messageId = 0 }, _socket, send) => {
      if (cmd === 'publish') send({ cmd: 'puback', messageId, reasonCode: 0 })
    }
    const forwarder = await open(t, { url: broker.url })
    const items = [messageOf({}, { payload: 'x'.repeat(100) }), messageOf({ retain: true }), messageOf({})]
    const outcomes = await forwarder.send(items, never)
    assert.deepEqual(
      outcomes.map(({ kind }) => kind),
      ['rejected', 'rejected', 'delivered'],
    )
  })
})

describe('mqtt 3.1.1', () => {
  async function startAedes(scope: Scope): Promise<{ url: string; topics: string[] }> {
    const topics: string[] = []
    const aedes = await Aedes.createBroker({
      authorizePublish: (_client, { topic }, done) => {
        if (topic.startsWith('no/')) return done(new Error('not allowed'))
        topics.push(topic)
        done(null)
      },
    })
    const server = createNetServer((socket) => aedes.handle(socket))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    scope.after(async () => {
      await new Promise<void>((resolve) => aedes.close(resolve))
      server.close()
    })
    const address = server.address()
    if (address === null || typeof address === 'string') throw new Error('no port')
    return { url: `mqtt://127.0.0.1:${address.port}`, topics }
  }

  it('is spoken with a broker that does not know MQTT 5', async (t) => {
    const { url, topics } = await startAedes(t)
    const forwarder = await open(t, { url })
    const outcomes = await forwarder.send(
      [messageOf({ contentType: 'text/plain' }), messageOf({ topic: 'out/2' })],
      never,
    )
    assert.deepEqual(outcomes, [{ kind: 'delivered' }, { kind: 'delivered' }])
    assert.deepEqual(topics, ['out/1', 'out/2'])
  })

  it('finds the message for which the broker closes the connection; its neighbours arrive, and it spends an attempt', async (t) => {
    const { url, topics } = await startAedes(t)
    const forwarder = await open(t, { url })
    const items = ['out/1', 'no/1', 'out/2', 'no/2', 'out/3'].map((topic) => messageOf({ topic }))
    const left = new Set(items)
    const spent = new Map<MqttItem, number>()
    await until('all but those that are not allowed', async () => {
      const sent = [...left]
      const outcomes = await forwarder.send(sent, never)
      for (const [index, item] of sent.entries()) {
        const outcome = outcomes[index]
        if (outcome?.kind === 'delivered') left.delete(item)
        if (outcome?.kind === 'retry' && outcome.answered) spent.set(item, (spent.get(item) ?? 0) + 1)
      }
      return left.size === 2 && spent.size === 2
    })
    assert.deepEqual(
      [...left].map((item) => item.with.topic),
      ['no/1', 'no/2'],
    )
    assert.deepEqual(
      [...spent.keys()].map((item) => item.with.topic),
      ['no/1', 'no/2'],
    )
    assert.ok(['out/1', 'out/2', 'out/3'].every((topic) => topics.includes(topic)))
  })
})
