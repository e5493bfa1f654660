import { deepEqual, equal, match } from 'node:assert/strict'
import { describe, test } from 'node:test'
import { createAccess } from '../../src/app/access.ts'
import type { Speaker } from '../../src/core/access.ts'
import type { Directory, NamedPolicy } from '../../src/core/directory.ts'
import { uncounted } from '../../src/core/metrics.ts'
import { createRegistry } from '../../src/identity/registry.ts'
import { authContext } from '../support/auth-context.ts'

const position = { file: 'identity/all.yaml', line: 7, column: 3 }
const policy = (name: string, ...statements: readonly object[]): [string, NamedPolicy] => [
  name,
  { name, position, document: { Version: '2012-10-17', Statement: statements } },
]
const allow = (action: string, resource: string) => ({
  Effect: 'Allow',
  Action: action,
  Resource: `arn:aws:iot:*:*:${resource}`,
})
const deny = (action: string, resource: string) => ({ ...allow(action, resource), Effect: 'Deny' })

const directory: Directory = {
  policies: new Map([
    policy(
      'own',
      allow('iot:Publish', 'topic/devices/${iot:Connection.Thing.ThingName}/*'),
      allow('iot:Connect', 'client/${iot:Connection.Thing.ThingName}'),
    ),
    policy('secretless', deny('iot:Publish', 'topic/devices/*/secret')),
    policy('everything', { Effect: 'Allow', Action: '*', Resource: '*' }),
  ]),
  groups: new Map([['field', { name: 'field', policies: ['secretless'] }]]),
  things: new Map([['d-1', { name: 'd-1', attributes: {}, groups: ['field'], policies: ['own'] }]]),
  principals: new Map([
    ['d-1', { name: 'd-1', thing: 'd-1', policies: ['own'], proofs: {}, position }],
    ['admin', { name: 'admin', policies: ['everything'], proofs: {}, position }],
    ['nobody', { name: 'nobody', policies: [], proofs: {}, position }],
  ]),
  sections: new Map(),
  files: [],
}
const access = createAccess({
  directory,
  bridges: [
    { principal: 'bridge:open', topics: ['devices/#'] },
    { principal: 'bridge:narrow', topics: ['devices/#'], policies: ['secretless'] },
  ],
  arn: { region: 'local', account: '000000000000' },
  auth: authContext(createRegistry(directory)),
  recordsVersion: () => 0,
  metrics: uncounted,
})
const speaker = (name: string, protocol: Speaker['protocol'] = 'http', clientId?: string): Speaker => ({
  principal: { name, method: name.startsWith('bridge:') ? 'bridge' : 'token', ...(name === 'd-1' && { thing: 'd-1' }) },
  protocol,
  ...(clientId !== undefined && { clientId }),
})

describe('access', () => {
  test('no policy, no action', () => {
    deepEqual(access.decide(speaker('nobody'), 'iot:Publish', 'devices/d-1/x'), {
      allow: false,
      because: 'no policy is attached',
      by: 'none',
    })
    deepEqual(access.decide(speaker('stranger'), 'iot:Publish', 'x'), {
      allow: false,
      because: 'no policy is attached',
      by: 'none',
    })
  })

  test('over HTTP the thing is the principal’s own', () => {
    equal(access.decide(speaker('d-1'), 'iot:Publish', 'devices/d-1/x').allow, true)
    equal(access.decide(speaker('d-1'), 'iot:Publish', 'devices/d-2/x').allow, false)
  })

  test('over MQTT the client id must be the thing’s name', () => {
    equal(access.decide(speaker('d-1', 'mqtt', 'd-1'), 'iot:Connect', 'd-1').allow, true)
    equal(access.decide(speaker('d-1', 'mqtt', 'other'), 'iot:Publish', 'devices/d-1/x').allow, false)
  })

  test('a denial names its statement with file and line', () => {
    const decision = access.decide(speaker('d-1'), 'iot:Publish', 'devices/d-1/secret')
    match(
      decision.allow ? '' : decision.because,
      /^statement 1 of policy secretless denies it \(identity\/all\.yaml:7\)$/,
    )
  })

  test('a reserved topic is closed whatever the policy', () => {
    const decision = access.decide(speaker('admin'), 'iot:Publish', '$SYS/broker/x')
    deepEqual([decision.allow, !decision.allow && decision.reserved], [false, true])
    equal(access.decide(speaker('admin'), 'iot:Publish', '$aws/things/d-1/shadow/update').allow, true)
    const retained = access.decide(speaker('admin'), 'iot:RetainPublish', '$aws/things/d-1/shadow/update')
    deepEqual([retained.allow, !retained.allow && retained.by], [false, 'reserved'])
  })

  test('a bridge without policies may publish what it subscribes, and nothing else', () => {
    equal(access.decide(speaker('bridge:open'), 'iot:Publish', 'devices/d-1/x').allow, true)
    equal(access.decide(speaker('bridge:open'), 'iot:Publish', 'other').allow, false)
    equal(access.decide(speaker('bridge:open'), 'iot:Connect', 'x').allow, false)
  })

  test('an entry with the name of a bridge has no more than its own policies', () => {
    const principal = { name: 'bridge:open', method: 'token' }
    equal(access.decide({ principal, protocol: 'http' }, 'iot:Publish', 'devices/d-1/x').allow, false)
  })

  test('a bridge with policies has only those', () => {
    equal(access.decide(speaker('bridge:narrow'), 'iot:Publish', 'devices/d-1/x').allow, false)
  })

  test('a thing’s own policies and those of its groups decide for it', () => {
    equal(access.decideForThing('d-1', 'devices/d-1/x', false).allow, true)
    equal(access.decideForThing('d-1', 'devices/d-1/secret', false).allow, false)
    equal(access.decideForThing('d-1', 'devices/d-2/x', false).allow, false)
    equal(access.decideForThing('d-1', 'devices/d-1/x', true).allow, false)
    equal(access.decideForThing('ghost', 'devices/ghost/x', false).allow, false)
    deepEqual([access.knowsThing('d-1'), access.knowsThing('ghost')], [true, false])
  })
})
