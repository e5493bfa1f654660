import { deepEqual, equal, match } from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { parse } from 'yaml'
import { examinePolicyDocument, notesOnPolicyDocument } from '../../src/policy/examine.ts'
import { evaluatePolicies } from '../../src/policy/evaluate.ts'

const good = { Effect: 'Allow', Action: 'iot:Publish', Resource: 'arn:aws:iot:*:*:topic/a' }

function complaints(document: unknown): string[] {
  return examinePolicyDocument(document).map(({ path, message }) => `${path}: ${message}`)
}

function ofStatement(statement: unknown): string[] {
  return complaints({ Version: '2012-10-17', Statement: [statement] })
}

test('a good document has no problems', () => {
  deepEqual(ofStatement(good), [])
  deepEqual(complaints({ Version: '2012-10-17', Id: 'x', Statement: { Sid: 's', ...good } }), [])
  const readme = parse(readFileSync(new URL('../cases/policy/conditions.yaml', import.meta.url), 'utf8')) as {
    readonly cases: readonly { readonly condition: unknown }[]
  }
  const odd = readme.cases.filter(({ condition }) => ofStatement({ ...good, Condition: condition }).length > 0)
  // Keys that don't exist are there on purpose.
  equal(odd.length, 3)
})

const problems: readonly (readonly [name: string, statement: unknown, expected: RegExp])[] = [
  ['no map', 'Allow', /^Statement\.0: a statement must be a map, and is "Allow"$/],
  ['unknown field', { ...good, Conditon: {} }, /^Statement\.0\.Conditon: .*did you mean Condition\?$/],
  ['principal', { ...good, Principal: '*' }, /^Statement\.0\.Principal: a statement has no field "Principal"/],
  ['bad effect', { ...good, Effect: 'allow' }, /^Statement\.0\.Effect: Effect must be Allow or Deny, and is "allow"$/],
  ['no effect', { Action: good.Action, Resource: good.Resource }, /^Statement\.0: Effect is missing/],
  ['no action', { Effect: 'Allow', Resource: '*' }, /^Statement\.0: Action is missing$/],
  ['both actions', { ...good, NotAction: 'iot:Connect' }, /^Statement\.0: .*this one has both$/],
  ['empty list of actions', { ...good, Action: [] }, /^Statement\.0\.Action: Action is empty$/],
  ['action that is no text', { ...good, Action: ['iot:Publish', 5] }, /^Statement\.0\.Action\.1: Action must be text/],
  [
    'action that does not exist',
    { ...good, Action: ['iot:Publihs'] },
    /^Statement\.0\.Action\.0: there is no action "iot:Publihs"; did you mean iot:Publish\?$/,
  ],
  ['wildcard that takes no action', { ...good, Action: 's3:*' }, /^Statement\.0\.Action: there is no action "s3:\*"$/],
  ['no resource', { Effect: 'Allow', Action: 'iot:Publish' }, /^Statement\.0: Resource is missing$/],
  ['both resources', { ...good, NotResource: '*' }, /^Statement\.0: .*this one has both$/],
  [
    'resource that is no ARN',
    { ...good, Resource: ['*', 'topic/a'] },
    /^Statement\.0\.Resource\.1: "topic\/a" is not an ARN/,
  ],
  ['short ARN', { ...good, Resource: 'arn:aws:iot:topic/*' }, /^Statement\.0\.Resource: .* is not an ARN/],
  [
    'variable in front',
    { ...good, Resource: 'arn:aws:iot:*:${iot:ClientId}:topic/a' },
    /^Statement\.0\.Resource: a variable may only stand after/,
  ],
  [
    'unknown variable',
    { ...good, Resource: 'arn:aws:iot:*:*:topic/${iot:clientId}' },
    /^Statement\.0\.Resource: there is no variable "iot:clientId"; did you mean iot:ClientId\?$/,
  ],
  [
    'open variable',
    { ...good, Resource: 'arn:aws:iot:*:*:topic/${iot:ClientId' },
    /^Statement\.0\.Resource: a "\$\{" is never closed/,
  ],
  ['condition list', { ...good, Condition: [] }, /^Statement\.0\.Condition: Condition must be a map/],
  [
    'operator',
    { ...good, Condition: { StringEqual: {} } },
    /^Statement\.0\.Condition\.StringEqual: there is no condition operator "StringEqual"; did you mean StringEquals\?$/,
  ],
  ['quantifier', { ...good, Condition: { 'ForSomeValues:StringEquals': {} } }, /there is no condition operator/],
  ['Null takes no quantifier', { ...good, Condition: { 'ForAllValues:Null': {} } }, /there is no condition operator/],
  [
    'block',
    { ...good, Condition: { StringEquals: 'x' } },
    /^Statement\.0\.Condition\.StringEquals: StringEquals must be a map/,
  ],
  [
    'key',
    { ...good, Condition: { StringEquals: { 'iot:ClientID2': 'x' } } },
    /^Statement\.0\.Condition\.StringEquals\.iot:ClientID2: there is no condition key/,
  ],
  [
    'value',
    { ...good, Condition: { StringEquals: { 'iot:ClientId': ['x', null] } } },
    /iot:ClientId\.1: a condition's value must be text, a number or a boolean, and is null$/,
  ],
  [
    'number',
    { ...good, Condition: { NumericEquals: { 'aws:EpochTime': 'x' } } },
    /aws:EpochTime: "x" is not a number$/,
  ],
  ['date', { ...good, Condition: { DateLessThan: { 'aws:CurrentTime': 'soon' } } }, /"soon" is not a date/],
  [
    'address',
    { ...good, Condition: { IpAddress: { 'aws:SourceIp': ['10.0.0.0/40'] } } },
    /aws:SourceIp\.0: "10\.0\.0\.0\/40" is not an IP address/,
  ],
  [
    'boolean',
    { ...good, Condition: { Bool: { 'iot:Connection.Thing.IsAttached': 'yes' } } },
    /"yes" is not true or false$/,
  ],
  ['null', { ...good, Condition: { Null: { 'iot:ClientId': 'yes' } } }, /"yes" is not true or false$/],
  ['empty operator', { ...good, Condition: { StringEquals: {} } }, /StringEquals is empty: it asks for nothing$/],
  ['year', { ...good, Condition: { DateLessThan: { 'aws:CurrentTime': 2030 } } }, /"2030" is not a date; write/],
  ['base64', { ...good, Condition: { BinaryEquals: { 'iot:ClientId': 'a' } } }, /"a" is not base64$/],
  ['arn', { ...good, Condition: { ArnEquals: { 'iot:LastWillTopic': 'x' } } }, /"x" is not an ARN/],
]

test('problems of a statement', async (t) => {
  for (const [name, statement, expected] of problems) {
    await t.test(name, () => {
      const found = ofStatement(statement)
      equal(found.length, 1, found.join('\n'))
      match(found[0] ?? '', expected)
    })
  }
})

test('problems of a document', () => {
  deepEqual(complaints(null), [': a policy document must be a map with Version and Statement, and is null'])
  deepEqual(complaints({ Statement: [good] }), [": Version is missing; it must be '2012-10-17', in quotes"])
  deepEqual(complaints({ Version: '2008-10-17', Statement: good }), [
    `Version: Version is "2008-10-17"; it must be '2012-10-17', in quotes`,
  ])
  deepEqual(complaints({ Version: '2012-10-17' }), [': Statement is missing'])
  deepEqual(complaints({ Version: '2012-10-17', Statement: [] }), [
    'Statement: Statement is empty: the policy allows nothing',
  ])
  deepEqual(complaints({ Version: '2012-10-17', Statement: { ...good, Effect: 1 } }), [
    'Statement.Effect: Effect must be Allow or Deny, and is 1',
  ])
})

test('every problem is told, not only the first', () => {
  equal(complaints({ Statment: [], Version: 1 }).length, 3)
  equal(complaints({ Version: '2012-10-17', Statement: [{}, { ...good, Effect: 'x' }] }).length, 4)
})

test('names that a prototype has are unknown like any other', () => {
  const document: unknown = JSON.parse(
    '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"__proto__":{"iot:ClientId":"x"},"constructor":{}}}]}',
  )
  deepEqual(
    examinePolicyDocument(document).map(({ path }) => path),
    ['Statement.0.Condition.__proto__', 'Statement.0.Condition.constructor'],
  )
  const request = { action: 'iot:Publish', resource: 'arn:aws:iot:r:1:topic/a' }
  equal(evaluatePolicies([document], request, {}).decision, 'deny')
  // A field inherited from a prototype is no field of the document.
  const inherited: unknown = Object.create({
    Version: '2012-10-17',
    Statement: { Effect: 'Allow', Action: '*', Resource: '*' },
  })
  equal(evaluatePolicies([inherited], request, {}).decision, 'deny')
})

test('what AWS would not take or would read otherwise is noted, and is no problem', () => {
  const notes = (statement: unknown) => {
    const document = { Version: '2012-10-17', Statement: [statement] }
    deepEqual(complaints(document), [])
    return notesOnPolicyDocument(document).map(({ path, message }) => `${path}: ${message}`)
  }
  deepEqual(notes(good), [])
  deepEqual(notes({ ...good, Resource: 'arn:aws:iot:*:*:topic/$(*)/$x' }), [
    'Statement.0.Resource: "$(*)" is no escape; for the plain character write ${*}',
  ])
  const alias = "iot:Thing.ThingName is in no list of AWS's; write iot:Connection.Thing.ThingName"
  deepEqual(notes({ ...good, Resource: 'arn:aws:iot:*:*:topic/${iot:Thing.ThingName}' }), [
    `Statement.0.Resource: ${alias}`,
  ])
  deepEqual(notes({ ...good, Condition: { StringEquals: { 'iot:thing.thingname': 'x' } } }), [
    `Statement.0.Condition.StringEquals.iot:thing.thingname: ${alias}`,
  ])
  deepEqual(notes({ ...good, Action: 'iot:Subscribe' }), [
    'Statement.0: none of its actions is about topic/…, but about topicfilter/…',
  ])
  deepEqual(notes({ ...good, Action: ['iot:Subscribe', 'iot:*'] }), [])
  deepEqual(notes({ ...good, Resource: 'arn:aws:iot:*:*:t*' }), [])
})

test('white space does not count for the size of a document', () => {
  const of = (topic: string) => ({
    Version: '2012-10-17',
    Statement: { ...good, Resource: `arn:aws:iot:*:*:topic/${topic}` },
  })
  const rest = JSON.stringify(of('')).length
  deepEqual(notesOnPolicyDocument(of(`${'x'.repeat(2048 - rest)}${' '.repeat(500)}`)), [])
  deepEqual(notesOnPolicyDocument(of('x'.repeat(2049 - rest))), [
    { path: '', message: 'the document has 2049 characters without white space; AWS takes at most 2048' },
  ])
  const circle: Record<string, unknown> = of('a')
  circle['Id'] = circle
  deepEqual(notesOnPolicyDocument(circle), [])
})
