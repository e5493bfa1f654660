import { deepEqual, equal, match, ok } from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { connect as tcp } from 'node:net'
import { join } from 'node:path'
import { before, describe, test } from 'node:test'
import { connect as tls } from 'node:tls'
import { freePort, temporaryFolder, until } from '../support/cleanup.ts'
import { suiteScope } from '../support/command.ts'
import { DoorClients, offWithin } from '../support/door-clients.ts'
import type { Running } from '../support/process.ts'
import { connectRaw, subscribeRaw } from '../support/raw-mqtt.ts'
import { logLines, principalEntry, ready, sluice, writeFiles } from '../support/sluice.ts'

// What the doors of a real Sluice tell policies about somebody, and what they say and do when policies deny.

const scope = suiteScope()
let folder = ''
let ca = ''
let running: Running
let clients: DoorClients
let ports: Readonly<Record<'http' | 'mqtt' | 'https' | 'mqtts', number>>

const topic = (name: string) => `arn:aws:iot:*:*:topic/${name}`
const allow = (Action: string | readonly string[], Resource: string, more: object = {}) => ({
  Effect: 'Allow',
  Action,
  Resource,
  ...more,
})
const document = (...Statement: readonly object[]) => ({ Version: '2012-10-17', Statement })

const policies = {
  connect: document(allow('iot:Connect', '*')),
  domain: document(allow('iot:Publish', topic('${iot:DomainName}/x'))),
  address: document(allow('iot:Publish', '*', { Condition: { IpAddress: { 'aws:SourceIp': '192.0.2.0/24' } } })),
  client: document(allow('iot:Publish', topic('${iot:ClientId}/x'))),
  thing: document(allow('iot:Publish', topic('things/${iot:Connection.Thing.ThingName}'))),
  listener: document(allow('iot:Subscribe', '*'), allow('iot:Receive', topic('open/*'))),
  all: document(allow('iot:*', '*')),
}

before(async () => {
  folder = await temporaryFolder(scope)
  ports = { http: await freePort(), mqtt: await freePort(), https: await freePort(), mqtts: await freePort() }
  const entry = (name: string, more = {}) =>
    principalEntry(name, `${name}-secret`, { policies: ['connect', name], ...more })
  const config = await writeFiles(folder, {
    'sluice.yaml': {
      listen: {
        http: { port: ports.http },
        mqtt: { port: ports.mqtt },
        https: { port: ports.https, proxyProtocol: true },
        mqtts: { port: ports.mqtts },
      },
    },
    'identity/all.yaml': {
      things: [{ name: 'pump-1' }, { name: 'pump-2' }],
      principals: [
        ...['domain', 'address', 'client', 'listener', 'all'].map((name) => entry(name)),
        entry('thing', { thing: 'pump-1' }),
        entry('leaver', { policies: ['all'] }),
      ],
    },
    'identity/policies.yaml': { policies },
    'rules/shadows.yaml': 'from: $aws/things/+/shadow/update\nto: [{ worker: log }]\n',
    'workers/log.yaml': { kind: 'log' },
  })
  running = sluice(scope, config, ['start'], { cwd: folder })
  await ready(running)
  ca = await readFile(join(folder, 'data/pki/ca.pem'), 'utf8')
  clients = new DoorClients(scope, ports, ca)
})

/** Publishes over HTTPS behind a load balancer that says who is there; gives the status. */
function postFrom(
  name: string,
  to: string,
  { source = '203.0.113.9', servername = '' }: { source?: string; servername?: string } = {},
): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  const socket = tcp(ports.https, '127.0.0.1')
  scope.after(() => void socket.destroy())
  socket.write(`PROXY TCP4 ${source} 10.0.0.1 40000 8443\r\n`)
  const secure = tls({ socket, ca, checkServerIdentity: () => undefined, ...(servername !== '' && { servername }) })
  secure.on('error', reject)
  secure.once('data', (answer: Buffer) => resolve(Number(answer.toString('latin1').split(' ', 2)[1])))
  const path = `/topics/${encodeURIComponent(to)}?qos=1`
  const head = `Host: localhost\r\nAuthorization: Bearer ${name}-secret\r\nContent-Length: 1\r\nConnection: close`
  secure.write(`POST ${path} HTTP/1.1\r\n${head}\r\n\r\nx`)
  return promise
}

const post = (name: string, to: string) =>
  clients.post('http', { headers: { authorization: `Bearer ${name}-secret` } }, `/topics/${encodeURIComponent(to)}`)

/** Publishes over MQTT: `acknowledged`, or `closed` where the connection ended instead. */
async function publish(name: string, clientId: string, to: string, retain = false): Promise<string> {
  const client = await connectRaw(scope, ports.mqtt, name, { clientId })
  equal(client.code, 0)
  client.publish(to, 1, 1, { retain })
  await until('an answer', () => client.closed() || client.ids('puback').length > 0)
  client.socket.destroy()
  return client.ids('puback').length > 0 ? 'acknowledged' : 'closed'
}

describe('policies are told', () => {
  test('the server name, where there is one', async () => {
    equal(await postFrom('domain', 'localhost/x', { servername: 'localhost' }), 200)
    equal(await postFrom('domain', 'localhost/x'), 403)
    equal(await post('domain', 'localhost/x'), 403)
    equal(await post('domain', '${iot:DomainName}/x'), 403)
  })

  test('the address that the PROXY header names, not that of the load balancer', async () => {
    equal(await postFrom('address', 'a', { source: '192.0.2.7' }), 200)
    equal(await postFrom('address', 'a', { source: '203.0.113.9' }), 403)
    equal(await post('address', 'a'), 403)
  })

  test('the client id over MQTT, and none over HTTP', async () => {
    equal(await publish('client', 'c-1', 'c-1/x'), 'acknowledged')
    equal(await publish('client', 'c-1', 'c-2/x'), 'closed')
    equal(await publish('client', '*', 'c-2/x'), 'closed')
    equal(await post('client', 'client/x'), 403)
    equal(await post('client', '/x'), 403)
  })

  test('the thing: over MQTT where the client id is its name, over HTTP that of the principal', async () => {
    equal(await publish('thing', 'pump-1', 'things/pump-1'), 'acknowledged')
    equal(await publish('thing', 'other', 'things/pump-1'), 'closed')
    equal(await publish('thing', 'pump-2', 'things/pump-2'), 'closed')
    equal(await post('thing', 'things/pump-1'), 200)
    equal(await post('thing', 'things/pump-2'), 403)
  })
})

describe('a denial', () => {
  test('ends a connection that publishes, is 0x80 to a SUBSCRIBE, 5 to a CONNECT, 403 over HTTP, and silence for a delivery', async () => {
    equal(await publish('domain', 'd', 'anything'), 'closed')
    const subscriber = await connectRaw(scope, ports.mqtt, 'domain')
    deepEqual(await subscribeRaw(subscriber, ['a']), [0x80])
    const listener = await connectRaw(scope, ports.mqtt, 'listener')
    deepEqual(await subscribeRaw(listener, ['#']), [1])
    equal(await publish('all', 'all', 'closed/x'), 'acknowledged')
    equal(await publish('all', 'all', 'open/x'), 'acknowledged')
    await until('the open one', () => listener.payloads().length === 1)
    deepEqual(
      listener.got.flatMap((packet) => (packet.cmd === 'publish' ? [packet.topic] : [])),
      ['open/x'],
    )
  })

  test('of a reserved topic holds whatever policies say, and nothing is retained there', async () => {
    equal(await publish('all', 'all', '$aws/events/presence/connected/x'), 'closed')
    equal(await publish('all', 'all', '$aws/things/pump-1/shadow/update'), 'acknowledged')
    equal(await publish('all', 'all', '$aws/things/pump-1/shadow/update', true), 'closed')
    // Open to publishers, and nothing here answers it, nor does a rule take it.
    equal(await publish('all', 'all', '$aws/things/pump-1/shadow/get'), 'closed')
    const will = {
      topic: '$aws/things/pump-1/shadow/update',
      payload: Buffer.from('{}'),
      qos: 0,
      retain: true,
    } as const
    equal((await connectRaw(scope, ports.mqtt, 'all', { will })).code, 5)
    equal((await connectRaw(scope, ports.mqtt, 'all', { will: { ...will, retain: false } })).code, 0)
  })

  test('stands in the log and is counted, with the statement, or that none allowed', async () => {
    const line = (message: string, name: string) =>
      logLines(running).find((entry) => entry['msg'] === message && entry['principal'] === name)
    match(String(line('refused', 'domain')?.['because']), /^no statement of connect, domain allows it$/)
    deepEqual([line('refused', 'client')?.['clientId'], line('refused', 'client')?.['sourceIp']], ['c-1', '127.0.0.1'])
    match(String(line('subscription refused', 'domain')?.['because']), /^no statement of connect, domain allows it$/)
    deepEqual(
      [line('delivery refused', 'listener')?.['topic'], line('delivery refused', 'listener')?.['clientId']],
      ['closed/x', 'listener'],
    )
    match(String(line('connection refused', 'all')?.['because']), /^last will: .*nothing is retained/)
    const page = await metricsPage()
    for (const wanted of [
      'sluice_decisions_denied_total{action="iot:Publish",by="none"}',
      'sluice_decisions_denied_total{action="iot:Subscribe",by="none"}',
      'sluice_decisions_denied_total{action="iot:Receive",by="none"}',
      'sluice_decisions_denied_total{action="iot:RetainPublish",by="reserved"}',
    ])
      ok(page.includes(wanted), `${wanted}\n${page}`)
  })
})

describe('a change of policies', () => {
  test('that denies iot:Connect ends the live connection, within a second of being in force, and events say so', async () => {
    const watcher = await connectRaw(scope, ports.mqtt, 'all', { clientId: 'watcher' })
    deepEqual(await subscribeRaw(watcher, ['$aws/events/presence/+/leaver'], 0), [0])
    const { client } = await clients.connect('mqtts', {
      username: 'leaver',
      password: 'leaver-secret',
      clientId: 'leaver',
    })
    ok(client)
    const deny = { Effect: 'Deny', Action: 'iot:Connect', Resource: 'arn:aws:iot:*:*:client/leaver' }
    const changed = { ...policies, all: document(...policies.all.Statement, deny) }
    await writeFile(join(folder, 'identity/policies.yaml'), JSON.stringify({ policies: changed }, undefined, 2))
    ok((await offWithin(client, 5_000)) > 0)
    const lines = logLines(running)
    const inForce = lines.findLast(({ msg }) => msg === 'rules and identities are in force')
    const closed = lines.findLast(({ msg, clientId }) => msg === 'connection closed' && clientId === 'leaver')
    ok(Date.parse(String(closed?.['time'])) - Date.parse(String(inForce?.['time'])) < 1_000)
    match(String(closed?.['detail']), /statement 2 of policy all denies it \(identity\/policies\.yaml:\d+\)/)
    await until('the event', () => watcher.payloads().length === 2)
    const [came, went] = watcher.payloads().map((text) => JSON.parse(text) as Record<string, unknown>)
    deepEqual(
      [came?.['eventType'], came?.['principalIdentifier'], came?.['ipAddress']],
      ['connected', 'leaver', '127.0.0.1'],
    )
    deepEqual([went?.['disconnectReason'], went?.['clientInitiatedDisconnect']], ['AUTH_ERROR', false])
    const again = { username: 'leaver', password: 'leaver-secret', clientId: 'leaver' }
    equal((await clients.connect('mqtts', again)).result, 'code 5')
  })
})

/** From the control socket, as an operator reads it. */
async function metricsPage(): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  const socket = tcp(join(folder, 'data/control.sock'))
  let text = ''
  socket.setEncoding('utf8').on('data', (part: string) => (text += part))
  socket.on('error', reject)
  socket.on('end', () => resolve(text))
  socket.write('GET /metrics HTTP/1.1\r\nHost: sluice\r\nConnection: close\r\n\r\n')
  return promise
}
