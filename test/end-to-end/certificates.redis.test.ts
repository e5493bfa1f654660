import { deepEqual, equal, match, ok } from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { before, describe, test } from 'node:test'
import { type MadeAuthority, type MadeCertificate, openMaker } from '../identity/x509-makers.ts'
import { freePort, temporaryFolder, until } from '../support/cleanup.ts'
import { suiteScope } from '../support/command.ts'
import { DoorClients, offWithin, type Shown } from '../support/door-clients.ts'
import { ensurePki } from '../../src/pki/ensure.ts'
import { startRedis } from '../support/redis.ts'
import { ready, sluice, writeFiles } from '../support/sluice.ts'

// Two ingests on one Redis: what one registers, activates and revokes, the other knows within a second, on live connections too.

const scope = suiteScope()
let maker: Awaited<ReturnType<typeof openMaker>>
let pending: MadeAuthority
let provisioning: MadeAuthority
let configs: string[]
let ingests: DoorClients[]
let archive: string

const fingerprintOf = ({ der }: MadeCertificate): string => createHash('sha256').update(der).digest('hex')
const shown = ({ pem, key }: MadeCertificate, clientId: string): Shown => ({ certificate: { pem, key }, clientId })
const extensions = ['extendedKeyUsage=clientAuth']

before(async () => {
  const folder = await temporaryFolder(scope)
  const redis = await startRedis(scope)
  maker = await openMaker(scope)
  pending = maker.authority('/CN=Pending CA')
  provisioning = maker.authority('/CN=Provisioning CA')
  archive = join(folder, 'archive.ndjson')
  const pki = await ensurePki(join(folder, 'pki'))
  const files = {
    'pending.pem': pending.pem,
    'provisioning.pem': provisioning.pem,
    'identity/all.yaml': {
      groups: [{ name: 'fleet', policies: ['fleet'] }],
      things: [{ name: 'd-1' }],
      certificateAuthorities: [
        { name: 'pending', certificate: '../pending.pem', register: 'pending' },
        {
          name: 'provisioning',
          certificate: '../provisioning.pem',
          register: 'provision',
          template: {
            Parameters: {
              'AWS::IoT::Certificate::CommonName': { Type: 'String' },
              'AWS::IoT::Certificate::Id': { Type: 'String' },
            },
            Resources: {
              thing: {
                Type: 'AWS::IoT::Thing',
                Properties: { ThingName: { Ref: 'AWS::IoT::Certificate::CommonName' }, ThingGroups: ['fleet'] },
              },
              certificate: {
                Type: 'AWS::IoT::Certificate',
                Properties: { CertificateId: { Ref: 'AWS::IoT::Certificate::Id' }, Status: 'ACTIVE' },
              },
            },
          },
        },
      ],
      policies: {
        fleet: {
          Version: '2012-10-17',
          Statement: [
            {
              Effect: 'Allow',
              Action: 'iot:Connect',
              Resource: 'arn:aws:iot:*:*:client/${iot:Connection.Thing.ThingName}',
            },
            {
              Effect: 'Allow',
              Action: 'iot:Publish',
              Resource: 'arn:aws:iot:*:*:topic/fleet/${iot:Connection.Thing.ThingName}/*',
              Condition: { StringLike: { 'iot:Certificate.Subject.CommonName': 'd-*' } },
            },
          ],
        },
      },
    },
    'workers/archive.yaml': { kind: 'file', path: archive },
    'rules/events.yaml': {
      from: ['$aws/events/#', 'fleet/+/climate'],
      select:
        '{ "topic": $topic(), "clientId": clientId, "event": eventType, "certificate": certificateId, "status": certificateStatus }',
      to: [{ worker: 'archive' }],
    },
  }
  await writeFiles(folder, files)
  configs = []
  ingests = []
  for (const name of ['a', 'b']) {
    const ports = { http: 0, mqtt: 0, https: await freePort(), mqtts: await freePort() }
    const pair = pki.paths.servers['server-ec']
    await writeFiles(folder, {
      [`${name}.yaml`]: {
        data: `./data-${name}`,
        listen: { https: { port: ports.https }, mqtts: { port: ports.mqtts } },
        tls: { certificates: [pair] },
        queue: redis.url,
      },
    })
    const config = join(folder, `${name}.yaml`)
    const running = sluice(scope, config, ['ingest'], { cwd: folder })
    await ready(running)
    configs.push(config)
    ingests.push(new DoorClients(scope, ports, await readFile(pki.paths.ca.certificate, 'utf8')))
  }
  const worker = sluice(scope, configs[0] ?? '', ['worker', 'archive'], { cwd: folder })
  await ready(worker)
})

/** Runs `sluice certificates …` against one of the ingests. */
async function certificates(ingest: 0 | 1, ...parameters: readonly string[]): Promise<string> {
  const ran = sluice(scope, configs[ingest] ?? '', ['certificates', ...parameters])
  equal(await ran.ended(), 0, ran.output())
  return ran.output()
}

async function archived(): Promise<readonly Record<string, unknown>[]> {
  const text = await readFile(archive, 'utf8').catch(() => '')
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>)
}

const [first, second] = [() => ingests[0] as DoorClients, () => ingests[1] as DoorClients]

describe('just-in-time registration', () => {
  test('a new device waits PENDING_ACTIVATION, a rule hears of it, and activated on one ingest it is in on the other', async () => {
    const device = pending.issue({ subject: '/CN=d-1', extensions })
    const id = fingerprintOf(device)
    equal((await first().connect('mqtts', shown(device, 'd-1'))).result, 'code 4')
    const event = await until('the event comes out of a worker', async () =>
      (await archived()).find((line) => line['certificate'] === id),
    )
    match(String(event['topic']), /^\$aws\/events\/certificates\/registered\/[\da-f]{64}$/)
    equal(event['status'], 'PENDING_ACTIVATION')

    match(await certificates(1, 'ls', '--status', 'pending_activation'), new RegExp(id))
    await certificates(1, 'attach', id, '--thing', 'd-1', '--policy', 'fleet')
    await certificates(1, 'activate', id)
    await until(
      'the other ingest knows',
      async () => (await first().connect('mqtts', shown(device, 'd-1'))).result === 'in',
      1_500,
    )
    equal(await second().post('https', shown(device, 'd-1'), '/topics/fleet/d-1/climate', '{}'), 200)
    equal(await second().post('https', shown(device, 'd-1'), '/topics/fleet/d-2/climate', '{}'), 403)
  })
})

describe('just-in-time provisioning', () => {
  test('a new device is in at once, as its thing, on both ingests', async () => {
    const device = provisioning.issue({ subject: '/CN=d-7', extensions })
    const { client, result } = await first().connect('mqtts', shown(device, 'd-7'))
    equal(result, 'in')
    ok(client)
    await client.publishAsync('fleet/d-7/climate', '{"clientId":"d-7"}', { qos: 1 })
    equal((await second().connect('wss', shown(device, 'd-7'))).result, 'in')
    // Its policy speaks of its own thing only.
    equal((await second().connect('mqtts', shown(device, 'd-8'))).result, 'code 5')
    await until('its message, and its presence', async () => {
      const lines = (await archived()).filter((line) => line['clientId'] === 'd-7')
      return (
        lines.some(({ topic }) => topic === 'fleet/d-7/climate') && lines.some(({ event }) => event === 'connected')
      )
    })
  })
})

test('`policy simulate` knows what has registered itself', async () => {
  const device = provisioning.issue({ subject: '/CN=d-sim', extensions })
  equal(await first().post('https', shown(device, 'x'), '/topics/fleet/d-sim/climate', '{}'), 200)
  const id = fingerprintOf(device)
  const asked = (topic: string) => [
    'policy',
    'simulate',
    '--principal',
    id,
    '--action',
    'iot:Connect',
    '--resource',
    topic,
  ]
  const allowed = sluice(scope, configs[1] ?? '', asked('d-sim'))
  equal(await allowed.ended(), 0, allowed.output())
  match(allowed.output(), /statement 1 of policy fleet allows it \(identity\/all\.yaml:\d+/)
  const denied = sluice(scope, configs[1] ?? '', asked('d-other'))
  equal(await denied.ended(), 1, denied.output())
  const effective = sluice(scope, configs[0] ?? '', ['policy', 'effective', '--principal', id])
  equal(await effective.ended(), 0, effective.output())
  match(effective.output(), /^fleet +group fleet/)
  const written = id.replaceAll(/..(?!$)/g, '$&:').toUpperCase()
  const asOpensslWritesIt = sluice(scope, configs[0] ?? '', ['policy', 'effective', '--principal', written])
  equal(await asOpensslWritesIt.ended(), 0, asOpensslWritesIt.output())
})

describe('a certificate that leaves ACTIVE', () => {
  for (const [act, from] of [
    ['deactivate', 0],
    ['revoke', 1],
  ] as const) {
    test(`by ${act} on one ingest is off on both within a second`, async () => {
      const name = `d-${act}`
      const device = provisioning.issue({ subject: `/CN=${name}`, extensions })
      const here = await first().connect('mqtts', shown(device, name))
      const there = await second().connect('mqtts', shown(device, name))
      ok(here.client)
      ok(there.client)
      const off = Promise.all([offWithin(here.client, 8_000), offWithin(there.client, 8_000)])
      const start = performance.now()
      const acted = certificates(from, act, fingerprintOf(device))
      await acted
      const commandMs = performance.now() - start
      const [mine, other] = await off
      // The command itself takes its time to start; from its end on it is a second at most.
      ok(Math.max(mine, other) < commandMs + 1_000, `${mine} and ${other} ms, and the command took ${commandMs} ms`)
      deepEqual(
        [
          (await first().connect('mqtts', shown(device, name))).result,
          (await second().connect('mqtts', shown(device, name))).result,
        ],
        ['code 4', 'code 4'],
      )
    })
  }

  test('may be activated again from INACTIVE, and never from REVOKED', async () => {
    const device = provisioning.issue({ subject: '/CN=d-again', extensions })
    const id = fingerprintOf(device)
    equal(await first().post('https', shown(device, 'x'), '/topics/fleet/d-again/climate', '{}'), 200)
    await certificates(0, 'deactivate', id)
    equal(await first().post('https', shown(device, 'x'), '/topics/fleet/d-again/climate', '{}'), 401)
    await certificates(0, 'activate', id)
    equal(await first().post('https', shown(device, 'x'), '/topics/fleet/d-again/climate', '{}'), 200)
    await certificates(0, 'revoke', id)
    const ran = sluice(scope, configs[0] ?? '', ['certificates', 'activate', id])
    equal(await ran.ended(), 2)
    match(ran.output(), /it is REVOKED, which is for good/)
    equal(await first().post('https', shown(device, 'x'), '/topics/fleet/d-again/climate', '{}'), 401)
  })
})
