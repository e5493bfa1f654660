import { deepEqual, equal, match } from 'node:assert/strict'
import { describe, test } from 'node:test'
import { createAccess } from '../../src/app/access.ts'
import type { DataAction, Principal, Speaker } from '../../src/core/access.ts'
import type { Directory, NamedPolicy } from '../../src/core/directory.ts'
import { type Metrics, uncounted } from '../../src/core/metrics.ts'
import { noRecords, type Records } from '../../src/identity/records.ts'
import { createRegistry } from '../../src/identity/registry.ts'
import { authContext } from '../support/auth-context.ts'
import { countedMetrics } from '../support/doors.ts'

// What a principal brings from its proof: a certificate, a pool, documents, groups, policies; and what changes under a connection.

const position = { file: 'identity/all.yaml', line: 7, column: 3 }
const allow = (action: string, resource: string, more: object = {}) => ({
  Effect: 'Allow',
  Action: action,
  Resource: `arn:aws:iot:*:*:${resource}`,
  ...more,
})
const documentOf = (...Statement: readonly object[]) => ({ Version: '2012-10-17', Statement })
const policy = (name: string, ...statements: readonly object[]): [string, NamedPolicy] => [
  name,
  {
    name,
    document: documentOf(...statements),
    position,
    statements: statements.map((_, index) => ({ ...position, line: 20 + index })),
  },
]

const directory: Directory = {
  policies: new Map([
    policy('a', allow('iot:Publish', 'topic/a')),
    policy('b', allow('iot:Publish', 'topic/b')),
    policy('named', allow('iot:Publish', 'topic/${iot:Certificate.Subject.CommonName}')),
    policy('domain', allow('iot:Publish', 'topic/${iot:DomainName}')),
    policy(
      'clock',
      allow('iot:Publish', 'topic/c', { Condition: { DateLessThan: { 'aws:CurrentTime': '2026-01-01T00:00:00Z' } } }),
    ),
    policy('retains', allow('iot:RetainPublish', 'topic/kept')),
    policy('denies', allow('iot:Publish', 'topic/*'), { ...allow('iot:Publish', 'topic/secret'), Effect: 'Deny' }),
  ]),
  groups: new Map([
    ['top', { name: 'top', policies: ['a'] }],
    ['below', { name: 'below', parent: 'top', policies: ['b'] }],
  ]),
  things: new Map(),
  principals: new Map(),
  sections: new Map(),
  files: [],
}

interface Change {
  records?: Partial<Records>
  version?: () => number
  now?: () => number
  metrics?: Metrics
}

function open({ records = {}, version = () => 0, now = Date.now, metrics = uncounted }: Change = {}) {
  const own: Records = { ...noRecords, ...records }
  const auth = { ...authContext(createRegistry(directory)), records: own, now }
  const arn = { region: 'local', account: '000000000000' }
  return createAccess({ directory, bridges: [], arn, auth, recordsVersion: version, metrics })
}

const speaker = (more: Partial<Principal>, other: Partial<Speaker> = {}): Speaker => ({
  principal: { name: 'p', method: 'test', ...more },
  protocol: 'http',
  ...other,
})

function allowed(access: ReturnType<typeof open>, who: Speaker, topics: readonly string[]): string[] {
  return topics.filter((topic) => access.decide(who, 'iot:Publish', topic).allow)
}

describe('what a proof brings along', () => {
  test('policies by name, and groups with their parents', () => {
    const access = open()
    deepEqual(allowed(access, speaker({ policies: ['a'] }), ['a', 'b']), ['a'])
    deepEqual(allowed(access, speaker({ groups: ['below'] }), ['a', 'b']), ['a', 'b'])
    deepEqual(allowed(access, speaker({ groups: ['nowhere'] }), ['a', 'b']), [])
  })

  test('documents: beside the others, and a malformed one denies everything', () => {
    const access = open()
    const documents = [documentOf(allow('iot:Publish', 'topic/x'))]
    deepEqual(allowed(access, speaker({ documents, policies: ['a'] }), ['a', 'b', 'x']), ['a', 'x'])
    const broken = speaker({ documents: [...documents, { Version: '1999' }], policies: ['a'] })
    deepEqual(allowed(access, broken, ['a', 'x']), [])
    const decision = access.decide(broken, 'iot:Publish', 'a')
    match(decision.allow ? '' : decision.because, /\(document 2 of the proof\)/)
  })

  test('a certificate: its attributes are policy variables', () => {
    const certificate = { subject: { CommonName: ['d-1'] } }
    deepEqual(allowed(open(), speaker({ policies: ['named'], certificate }), ['d-1', 'd-2']), ['d-1'])
    deepEqual(allowed(open(), speaker({ policies: ['named'] }), ['d-1']), [])
  })

  test('the server name that it connected to', () => {
    const who = speaker({ policies: ['domain'] }, { serverName: 'iot.example.com' })
    deepEqual(allowed(open(), who, ['iot.example.com', 'other']), ['iot.example.com'])
  })

  test('an authenticated identity of a pool needs its role and its own policies, an unauthenticated one has its role alone', () => {
    const pool = (kind: 'authenticated' | 'unauthenticated', role: readonly string[]) => ({
      kind,
      identityId: 'local:1',
      role,
    })
    const access = open()
    deepEqual(allowed(access, speaker({ policies: ['a'], pool: pool('authenticated', ['a', 'b']) }), ['a', 'b']), ['a'])
    deepEqual(allowed(access, speaker({ pool: pool('authenticated', ['a', 'b']) }), ['a', 'b']), [])
    deepEqual(allowed(access, speaker({ policies: ['a'], pool: pool('authenticated', []) }), ['a', 'b']), [])
    deepEqual(allowed(access, speaker({ policies: ['b'], pool: pool('unauthenticated', ['a']) }), ['a', 'b']), ['a'])
    // iot:RetainPublish is not among the actions that need both (decision 7).
    const retains = speaker({ policies: ['a'], pool: pool('authenticated', ['retains']) })
    equal(access.decide(retains, 'iot:RetainPublish', 'kept').allow, true)
    equal(
      access.decide(speaker({ policies: ['retains'], pool: pool('authenticated', ['a']) }), 'iot:RetainPublish', 'kept')
        .allow,
      false,
    )
    const denied = speaker({ policies: ['a'], pool: pool('authenticated', ['denies']) })
    const decision = access.decide(denied, 'iot:Publish', 'secret')
    match(decision.allow ? '' : decision.because, /^statement 2 of policy denies denies it \(identity\/all\.yaml:21\)$/)
  })
})

describe('decisions on a connection', () => {
  test('are counted by what decided, each time', () => {
    const metrics = countedMetrics()
    const access = open({ metrics })
    const who = speaker({ policies: ['denies'] })
    const ask = (action: DataAction, topic: string) => access.decide(who, action, topic)
    ask('iot:Publish', 'secret')
    ask('iot:Publish', 'secret')
    ask('iot:Subscribe', 'x')
    ask('iot:Publish', '$SYS/x')
    const total = (by: string) => metrics.total('sluice_decisions_denied_total', { by })
    deepEqual([total('denies/2'), total('none'), total('reserved')], [2, 1, 1])
  })

  test('that look at the clock are made anew', () => {
    let now = Date.parse('2025-12-31T23:59:59Z')
    const access = open({ now: () => now })
    const who = speaker({ policies: ['clock'] })
    equal(access.decide(who, 'iot:Publish', 'c').allow, true)
    now += 1_000
    equal(access.decide(who, 'iot:Publish', 'c').allow, false)
  })

  test('follow the records: what is attached to a certificate counts from its next message on', () => {
    let version = 0
    let policies: readonly string[] = ['a']
    const access = open({
      version: () => version,
      records: {
        certificate: () => ({ fingerprint: 'p', status: 'ACTIVE', policies, registeredAt: 0 }),
      },
    })
    const who = speaker({ method: 'x509' })
    deepEqual(allowed(access, who, ['a', 'b']), ['a'])
    policies = ['b']
    deepEqual(allowed(access, who, ['a', 'b']), ['a'], 'what nobody has announced is not looked at')
    version += 1
    deepEqual(allowed(access, who, ['a', 'b']), ['b'])
    policies = ['b', 'gone']
    version += 1
    deepEqual(allowed(access, who, ['a', 'b']), [], 'a policy that nobody has any more could be the one that denies')
  })

  test('the records of another method’s principal of that name say nothing', () => {
    const certificate = () => ({ fingerprint: 'p', status: 'ACTIVE' as const, policies: ['a'], registeredAt: 0 })
    deepEqual(allowed(open({ records: { certificate } }), speaker({ method: 'jwt' }), ['a']), [])
  })
})
