import { deepEqual, equal, match, rejects } from 'node:assert/strict'
import { test } from 'node:test'
import { createAccess } from '../../src/app/access.ts'
import { accessOfBridge, principalOfBridge } from '../../src/app/bridges.ts'
import { type KnownVia, simulateVia } from '../../src/app/simulate-via.ts'
import { sluiceSchema } from '../../src/config/sluice-schema.ts'
import type { Accepted } from '../../src/core/access.ts'
import type { Directory, NamedPolicy, Thing } from '../../src/core/directory.ts'
import { silent } from '../../src/core/log.ts'
import { uncounted } from '../../src/core/metrics.ts'
import { createRegistry } from '../../src/identity/registry.ts'
import { createAccept } from '../../src/ingest/accept.ts'
import { RateLimiter } from '../../src/ingest/limits.ts'
import { compileRules } from '../../src/rules/engine.ts'
import { authContext } from '../support/auth-context.ts'

const position = { file: 'identity/all.yaml', line: 7, column: 3 }
const policy = (name: string, effect: string, action: string, resource: string): [string, NamedPolicy] => [
  name,
  {
    name,
    position,
    document: {
      Version: '2012-10-17',
      Statement: [
        { Effect: 'Allow', Action: 'iot:Publish', Resource: 'arn:aws:iot:*:*:topic/devices/*' },
        { Effect: effect, Action: action, Resource: `arn:aws:iot:*:*:${resource}` },
      ],
    },
  },
]
const thing = (name: string, ...policies: string[]): [string, Thing] => [
  name,
  { name, attributes: {}, groups: [], policies },
]
const directory: Directory = {
  policies: new Map([
    policy('all', 'Allow', 'iot:*', '*'),
    policy('secretless', 'Deny', 'iot:*', 'topic/devices/*/secret'),
    policy('own', 'Allow', 'iot:RetainPublish', 'topic/devices/${iot:Connection.Thing.ThingName}/*'),
  ]),
  groups: new Map(),
  things: new Map([thing('d-all', 'all'), thing('d-own', 'own'), thing('d-secret', 'secretless'), thing('d-none')]),
  // Its own policies don't count for what comes over a bridge.
  principals: new Map([['d-none', { name: 'd-none', thing: 'd-none', policies: ['all'], proofs: {}, position }]]),
  sections: new Map(),
  files: [],
}
const settings = sluiceSchema.parse({})
const written = sluiceSchema.shape.bridges.parse([{ name: 'plant', url: 'mqtt://b', topics: ['devices/#'] }])
const bridge = written[0] as NonNullable<(typeof written)[number]>

test('answers exactly as accept does, whatever a bridge, its things and their policies say', async () => {
  const access = (bridges: Parameters<typeof createAccess>[0]['bridges']) =>
    createAccess({
      directory,
      bridges,
      arn: settings.arn,
      auth: authContext(createRegistry(directory)),
      recordsVersion: () => 0,
      metrics: uncounted,
    })
  const seen = new Map<string, number>()
  for (const policies of [undefined, ['all'], ['secretless'], []])
    for (const actsFor of [[], ['d-*'], ['*']])
      for (const trust of ['policies', 'topics'] as const)
        for (const unknownThings of ['refuse', 'allow'] as const) {
          const own = { ...bridge, actsFor, trust, unknownThings, ...(policies !== undefined && { policies }) }
          const current = access([accessOfBridge(own)])
          const { topicBytes: bytes, topicLevels: levels, payload } = settings.limits
          const accept = createAccept('bridge', {
            access: () => current,
            rules: () => compileRules([]),
            enqueue: () => [],
            keepFailed: async () => {},
            limiter: new RateLimiter(settings.limits),
            limits: { bytes, levels, payload },
            log: silent,
            metrics: uncounted,
          })
          const speaker = { principal: principalOfBridge(own), protocol: 'mqtt', clientId: 'sluice-plant-1' } as const
          const known: KnownVia = { directory, settings: { ...settings, bridges: [own] } }
          for (const name of [undefined, 'd-all', 'd-own', 'd-secret', 'd-none', 'd-unknown', 'other'])
            for (const topic of ['devices/d-own/x', 'devices/d-all/secret', 'elsewhere/x', '$SYS/x', 'a/+', ''])
              for (const retain of [false, true]) {
                const publish = { topic, payload: Buffer.alloc(0), qos: 1, retain } as const
                const accepted = await accept(speaker, name === undefined ? publish : { ...publish, thing: name })
                const simulated = await simulateVia(known, {
                  via: 'bridge:plant',
                  ...(name !== undefined && { thing: name }),
                  action: 'iot:Publish',
                  resource: topic,
                  protocol: 'mqtt',
                  retain,
                  now: 0,
                })
                const what = { policies, actsFor, trust, unknownThings, name, topic, retain }
                deepEqual([simulated.decision, simulated.reason], said(accepted), JSON.stringify(what))
                const reason = simulated.reason ?? 'allow'
                seen.set(reason, (seen.get(reason) ?? 0) + 1)
              }
        }
  // Or the table says nothing.
  deepEqual([...seen.keys()].toSorted(), [
    'allow',
    'policy',
    'reserved',
    'speaking-for',
    'thing-policy',
    'topic',
    'unknown-thing',
  ])
})

function said(accepted: Accepted): unknown[] {
  return accepted.kind === 'refused' ? ['deny', accepted.reason] : ['allow', undefined]
}

const asked = { via: 'bridge:plant', action: 'iot:Publish', protocol: 'mqtt', retain: false, now: 0 } as const
const known = (parts: Partial<typeof bridge>): KnownVia => ({
  directory,
  settings: { ...settings, bridges: [{ ...bridge, actsFor: ['*'], ...parts }] },
})

test('without a thing, the bridge’s own template is asked about the topic', async () => {
  const plant = known({ thing: '${ $topic(2) }' })
  const found = await simulateVia(plant, { ...asked, resource: 'devices/d-none/x' })
  deepEqual([found.decision, found.thing, found.reason], ['deny', 'd-none', 'thing-policy'])
  match(found.because, /no policy is attached/)
  const nobody = await simulateVia(plant, { ...asked, resource: 'devices' })
  deepEqual([nobody.decision, nobody.reason], ['deny', 'request'])
  match(nobody.because, /--thing/)
})

test('names what there isn’t, and what nobody does for a thing', async () => {
  const resource = 'devices/d-all/x'
  await rejects(simulateVia(known({}), { ...asked, via: 'bridge:plnt', resource }), /no bridge or principal .*plant/)
  await rejects(simulateVia(known({}), { ...asked, action: 'iot:Connect', resource }), /nobody does iot:Connect/)
  await rejects(simulateVia(known({}), { ...asked, resource: 'arn:aws:iot:a:1:client/x' }), /not the ARN of a topic/)
  const arn = 'arn:aws:iot:local:000000000000:topic/devices/d-all/x'
  equal((await simulateVia(known({}), { ...asked, thing: 'd-all', resource: arn })).decision, 'allow')
})
