import { deepEqual, equal } from 'node:assert/strict'
import { test } from 'node:test'
import { compilePolicies } from '../../src/policy/compile.ts'
import type { PolicyContext, PolicyRequest } from '../../src/policy/context.ts'

const Version = '2012-10-17'

function of(...statements: readonly object[]): { readonly Version: string; readonly Statement: readonly object[] } {
  return { Version, Statement: statements.map((one) => ({ Effect: 'Allow', Action: 'iot:Publish', ...one })) }
}

function explain(documents: readonly unknown[], context: PolicyContext, request: Partial<PolicyRequest> = {}) {
  const asked = { action: 'iot:Publish', resource: 'arn:aws:iot:r:1:topic/a/c', ...request }
  return compilePolicies(documents).explain(asked, context)
}

const thing = '${iot:Connection.Thing.ThingName}'

test('says which statement decided, and how', () => {
  const documents = [
    of({ Resource: 'arn:aws:iot:*:*:topic/b/*' }),
    of({ Resource: '*' }, { Effect: 'Deny', Resource: `arn:aws:iot:*:*:topic/*/${thing}` }),
  ]
  deepEqual(explain(documents, { protocol: 'mqtt', clientId: 'd', thingName: 'd', isAttached: true }), {
    decision: 'allow',
    explicit: false,
    statement: { document: 1, statement: 0 },
    missingContextValues: [],
  })
  deepEqual(explain(documents, { protocol: 'mqtt', clientId: 'd' }), {
    decision: 'deny',
    explicit: true,
    statement: { document: 1, statement: 1 },
    missingContextValues: ['iot:Connection.Thing.ThingName'],
  })
  deepEqual(explain(documents.slice(0, 1), {}), { decision: 'deny', explicit: false, missingContextValues: [] })
})

test('names what was missing, and only where it mattered', () => {
  const missing = (statement: object, context: PolicyContext = {}) =>
    explain([of(statement)], context).missingContextValues
  deepEqual(missing({ Resource: `arn:aws:iot:*:*:topic/a/${thing}` }), ['iot:Connection.Thing.ThingName'])
  // Whatever the thing was called, this statement would speak about another topic, or about another action.
  deepEqual(missing({ Resource: `arn:aws:iot:*:*:topic/b/${thing}` }), [])
  deepEqual(missing({ Action: 'iot:Receive', Resource: `arn:aws:iot:*:*:topic/a/${thing}` }), [])
  const Resource = 'arn:aws:iot:*:*:topic/a/c'
  deepEqual(missing({ Resource, Condition: { StringEquals: { 'iot:clientid': ['x', '${iot:DomainName}'] } } }), [
    'iot:ClientId',
    'iot:DomainName',
  ])
  deepEqual(
    missing({
      Resource,
      Condition: { Bool: { 'iot:DomainName': 'true' }, IpAddress: { 'aws:SourceIp': '10.0.0.0/8' } },
    }),
    ['aws:SourceIp', 'iot:DomainName'],
  )
  deepEqual(missing({ Resource, Condition: { Null: { 'iot:ClientId': 'true' } } }), [])
  deepEqual(missing({ Resource, Condition: { StringEquals: { 'aws:Nonsense': 'x' } } }), ['aws:Nonsense'])
  deepEqual(
    missing({ Resource, Condition: { IpAddress: { 'aws:SourceIp': '10.0.0.0/8' } } }, { sourceIp: '10.1.1.1' }),
    [],
  )
  deepEqual(missing({ NotResource: `arn:aws:iot:*:*:topic/a/${thing}` }), ['iot:Connection.Thing.ThingName'])
})

test('looks at retained publishing and at the role as well', () => {
  const documents = [
    of({ Resource: '*' }, { Action: 'iot:RetainPublish', Resource: `arn:aws:iot:*:*:topic/a/${thing}` }),
  ]
  deepEqual(explain(documents, {}).missingContextValues, [])
  deepEqual(explain(documents, {}, { retain: true }).missingContextValues, ['iot:Connection.Thing.ThingName'])
  const context: PolicyContext = {
    principal: { type: 'cognito-authenticated', identityId: 'i' },
    rolePolicies: [of({ Resource: 'arn:aws:iot:*:*:topic/a/${iot:ClientId}' })],
  }
  deepEqual(explain([of({ Resource: '*' })], context), {
    decision: 'deny',
    explicit: false,
    missingContextValues: ['iot:ClientId'],
  })
})

test('explains nonsense too', () => {
  const request = { action: 5, resource: null } as never
  deepEqual(compilePolicies([]).explain(request, null as never), {
    decision: 'deny',
    explicit: false,
    missingContextValues: [],
  })
  equal(compilePolicies(null as never).explain(request, {}).decision, 'deny')
  const documents = [of({ Resource: '*' })]
  const context = { principal: { type: 'cognito-authenticated' }, rolePolicies: 'x' } as never
  equal(explain(documents, context).decision, 'deny')
})

test('knows whether the time matters', () => {
  const usesTime = (...statements: readonly object[]) => compilePolicies([of(...statements)]).usesTime
  equal(usesTime({ Resource: '*' }), false)
  equal(usesTime({ Resource: '*', Condition: { StringEquals: { 'iot:ClientId': 'aws:CurrentTime' } } }), false)
  equal(
    usesTime({ Resource: '*' }, { Resource: '*', Condition: { DateLessThan: { 'AWS:currenttime': '2030-01-01' } } }),
    true,
  )
  equal(usesTime({ Resource: '*', Condition: { NumericLessThan: { 'aws:EpochTime': '5' } } }), true)
  equal(usesTime({ Resource: 'arn:aws:iot:*:*:topic/${aws:EpochTime}' }), true)
  equal(usesTime({ NotResource: ['*', 'arn:aws:iot:*:*:topic/${aws:CurrentTime}'] }), true)
  equal(usesTime({ Resource: '*', Condition: { StringLike: { 'iot:ClientId': ['x', '${aws:CurrentTime}'] } } }), true)
  equal(compilePolicies([]).usesTime, false)
})
