import { deepEqual, ok } from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import type { PolicyContext, PolicyRequest } from '../../src/policy/context.ts'
import { evaluatePolicies } from '../../src/policy/evaluate.ts'
import { examinePolicyDocument } from '../../src/policy/examine.ts'
import { type OracleDocument, type OracleStatement, oracleDecision } from '../support/policy-oracle.ts'

// Few names, so that patterns and requests meet often.
const name = fc.constantFrom('a', 'b', 'a/b', '*', '?', '+', 'ab', 'a*', '😀', 'x=y', 'a:topic/a')
const piece = fc.constantFrom(
  'a',
  'b',
  '/',
  '*',
  '?',
  '+',
  '😀',
  '${*}',
  '${?}',
  '${$}',
  '$',
  '${iot:ClientId}',
  '${iot:Connection.Thing.ThingName}',
  '${iot:Certificate.Subject.CommonName}',
  '${iot:Certificate.Subject.CommonName.1}',
  '${iot:Certificate.Subject.CommonName.List}',
  '${iot:Nonsense}',
)
const text = fc.array(piece, { minLength: 1, maxLength: 5 }).map((pieces) => pieces.join(''))
const action = fc.constantFrom('iot:Connect', 'iot:Publish', 'iot:RetainPublish', 'iot:Receive')
const actionPattern = fc.oneof(action, fc.constantFrom('*', 'iot:*', 'iot:?etain*', 'IOT:publish', 'iot:*e*'))
const head = fc.constantFrom('arn:aws:iot:*:*:', 'arn:aws:iot:r:1:', 'arn:aws:iot:r:2:', 'arn:aws:iot:?:1:')
const resourcePattern = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.tuple(head, fc.constantFrom('topic/', 'client/', '*'), text).map((parts) => parts.join('')),
  },
  { weight: 1, arbitrary: fc.constant('*') },
)
const key = fc.constantFrom(
  'iot:ClientId',
  'iot:Connection.Thing.ThingName',
  'iot:Connection.Thing.IsAttached',
  'iot:Certificate.Subject.CommonName',
  'iot:Certificate.Subject.CommonName.List',
  'iot:ConnectAttributes',
  'iot:Unknown',
)
const quantifier = fc.constantFrom('', '', 'ForAllValues:', 'ForAnyValue:')
const comparison = fc.constantFrom('StringEquals', 'StringNotEquals', 'StringLike', 'StringNotLike')
const wanted = fc.array(fc.oneof(text, name, fc.constantFrom('LastWill', 'PersistentConnect')), { maxLength: 3 })
const condition: fc.Arbitrary<Record<string, Record<string, string[]>>> = fc.oneof(
  fc
    .tuple(quantifier, comparison, fc.constantFrom('', 'IfExists'), key, wanted)
    .map(([set, operator, ending, key, values]) => ({ [`${set}${operator}${ending}`]: { [key]: values } })),
  fc.constantFrom('true', 'false').map((value) => ({ Bool: { 'iot:Connection.Thing.IsAttached': [value] } })),
  fc.tuple(key, fc.constantFrom('true', 'false')).map(([key, value]) => ({ Null: { [key]: [value] } })),
)

const statement: fc.Arbitrary<OracleStatement> = fc
  .record({
    Effect: fc.constantFrom('Allow' as const, 'Allow' as const, 'Deny' as const),
    actions: fc.tuple(
      fc.constantFrom('Action', 'Action', 'Action', 'NotAction'),
      fc.array(actionPattern, { minLength: 1, maxLength: 2 }),
    ),
    resources: fc.tuple(
      fc.constantFrom('Resource', 'Resource', 'Resource', 'NotResource'),
      fc.array(resourcePattern, { minLength: 1, maxLength: 3 }),
    ),
    Condition: fc.option(condition, { nil: undefined }),
  })
  .map(({ Effect, actions, resources, Condition }) => ({
    Effect,
    [actions[0]]: actions[1],
    [resources[0]]: resources[1],
    ...(Condition !== undefined && { Condition }),
  }))

const document: fc.Arbitrary<OracleDocument> = fc
  .array(statement, { minLength: 1, maxLength: 3 })
  .map((Statement) => ({ Version: '2012-10-17', Statement }))

const request: fc.Arbitrary<PolicyRequest> = fc
  .tuple(action, fc.constantFrom('topic/', 'client/'), fc.array(name, { minLength: 1, maxLength: 3 }), fc.boolean())
  .map(([action, type, names, retain]) => ({ action, resource: `arn:aws:iot:r:1:${type}${names.join('')}`, retain }))

const context: fc.Arbitrary<PolicyContext> = fc.record(
  {
    protocol: fc.constantFrom('mqtt' as const, 'mqtt-ws' as const, 'http' as const),
    clientId: name,
    thingName: name,
    isAttached: fc.boolean(),
    connectAttributes: fc.uniqueArray(fc.constantFrom('LastWill', 'PersistentConnect')),
    certificate: fc.array(name, { maxLength: 7 }).map((CommonName) => ({ subject: { CommonName } })),
  },
  { requiredKeys: ['protocol'] },
)

test('decides as the obvious reading of the language does', () => {
  const seen = { allow: 0, 'explicit deny': 0, deny: 0 }
  fc.assert(
    fc.property(fc.array(document, { maxLength: 3 }), request, context, (documents, request, context) => {
      const expected = oracleDecision(documents, request, context)
      seen[expected] += 1
      const { decision, explicit } = evaluatePolicies(documents, request, context)
      deepEqual(
        { decision, explicit },
        { decision: expected === 'allow' ? 'allow' : 'deny', explicit: expected === 'explicit deny' },
      )
    }),
    { numRuns: 6_000 },
  )
  // The property is worth something only where all three happen.
  for (const [kind, times] of Object.entries(seen)) ok(times > 100, `${kind} came up ${times} times`)
})

test('an Allow decides nothing else than what it is asked; a Deny added to documents never opens anything', () =>
  fc.assert(
    fc.property(
      fc.array(document, { maxLength: 2 }),
      statement,
      request,
      context,
      (documents, added, request, context) => {
        const denies = { Version: '2012-10-17', Statement: [{ ...added, Effect: 'Deny' }] }
        const before = evaluatePolicies(documents, request, context)
        const after = evaluatePolicies([...documents, denies], request, context)
        if (before.decision === 'deny') deepEqual(after.decision, 'deny')
      },
    ),
    { numRuns: 1_000 },
  ))

const hostile = fc.anything({
  withNullPrototype: true,
  withBigInt: true,
  withDate: true,
  withMap: true,
  withSet: true,
  withTypedArray: true,
})
const fieldNames = [
  'Version',
  'Statement',
  'Effect',
  'Action',
  'Resource',
  'Condition',
  '__proto__',
  'constructor',
  'StringEquals',
]
const almostDocument = fc.letrec<{ node: unknown }>((tie) => ({
  node: fc.oneof(
    { maxDepth: 5, depthSize: 'medium' },
    hostile,
    fc.constantFrom('2012-10-17', 'Allow', 'Deny', 'iot:*', '*', '${', '${iot:ClientId}', 'arn:aws:iot:*'),
    fc.array(tie('node'), { maxLength: 3 }),
    fc.dictionary(fc.constantFrom(...fieldNames), tie('node'), { maxKeys: 5 }),
  ),
})).node
const hostileContext = fc.oneof(
  hostile,
  fc.record(
    Object.fromEntries(
      [
        'protocol',
        'principal',
        'clientId',
        'thingName',
        'thingAttributes',
        'certificate',
        'connectAttributes',
        'rolePolicies',
        'currentTime',
      ].map((field) => [field, hostile]),
    ),
    { requiredKeys: [] },
  ),
)

test('no value throws, and no malformed document lets anything through', () =>
  fc.assert(
    fc.property(
      almostDocument,
      fc.oneof(request, hostile),
      fc.oneof(context, hostileContext),
      (document, request, context) => {
        const everything = {
          Version: '2012-10-17',
          Statement: { Effect: 'Allow', Action: '*', Resource: '*' },
        }
        const complaints = examinePolicyDocument(document)
        for (const { path, message } of complaints) ok(typeof path === 'string' && message !== '')
        const { decision } = evaluatePolicies(
          [everything, document],
          request as PolicyRequest,
          context as PolicyContext,
        )
        ok(decision === 'allow' || decision === 'deny')
        evaluatePolicies(document as readonly unknown[], request as PolicyRequest, context as PolicyContext)
        if (complaints.some(({ message }) => message.includes('missing'))) deepEqual(decision, 'deny')
      },
    ),
    { numRuns: 4_000 },
  ))
