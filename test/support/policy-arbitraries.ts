import * as fc from 'fast-check'
import { actions } from '../../src/policy/actions.ts'
import type { PolicyContext, PolicyRequest } from '../../src/policy/context.ts'
import type { OracleDocument, OracleStatement } from './policy-oracle.ts'

// Few names and values of each kind, so that what policies want and what requests have meet often.

/** Names of clients, things, levels and attributes. */
export const names = [
  'a',
  'b',
  'a/b',
  '*',
  '?',
  '+',
  'ab',
  'a*',
  '😀',
  'x=y',
  'a:topic/a',
  '${iot:ClientId}',
  '',
] as const
export const addresses = [
  '10.0.0.7',
  '10.1.0.7',
  '192.0.2.1',
  '::ffff:10.0.0.7',
  '2001:db8::7',
  'fe80::1%eth0',
  'nowhere',
]
export const times = [0, 1_699_999_999_500, 1_700_000_000_000, 1_700_000_000_999, 1_767_225_600_000]
export const topics = ['a', 'b', 'a/b', 'will/a'] as const

const name = fc.constantFrom(...names)
const variables = [
  'iot:ClientId',
  'iot:Connection.Thing.ThingName',
  'iot:Thing.ThingName',
  'iot:Connection.Thing.ThingTypeName',
  'iot:Connection.Thing.IsAttached',
  'iot:Connection.Thing.Attributes[site]',
  'iot:Connection.Thing.Attributes[Site]',
  'iot:Certificate.Subject.CommonName',
  'iot:Certificate.Subject.CommonName.1',
  'iot:Certificate.Subject.CommonName.5',
  'iot:Certificate.Subject.CommonName.List',
  'iot:Certificate.Issuer.Organization',
  'iot:Certificate.Subject.AlternativeName.DNSName',
  'iot:Certificate.SerialNumber',
  'iot:CertificateId',
  'iot:DomainName',
  'aws:SourceIp',
  'aws:SourceVpc',
  'aws:VpcSourceIp',
  'aws:EpochTime',
  'aws:CurrentTime',
  'iot:LastWillTopic',
  'cognito-identity.amazonaws.com:sub',
  'iot:Nonsense',
  'iot:clientid',
]
const piece = fc.oneof(
  { weight: 5, arbitrary: fc.constantFrom('a', 'b', '/', '/', '+', '😀', '${*}', '${?}', '${$}', '$', ':') },
  { weight: 2, arbitrary: fc.constantFrom('*', '?') },
  { weight: 2, arbitrary: fc.constantFrom(...variables.slice(0, 10)).map((name) => `\${${name}}`) },
  { weight: 1, arbitrary: fc.constantFrom(...variables).map((name) => `\${${name}}`) },
)
const text = fc.array(piece, { minLength: 1, maxLength: 5 }).map((pieces) => pieces.join(''))

const common = ['iot:Connect', 'iot:Publish', 'iot:RetainPublish', 'iot:Receive', 'iot:Subscribe'] as const
export const action = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom<string>(...common) },
  { weight: 1, arbitrary: fc.constantFrom<string>(...actions, 'IOT:PUBLISH', 'iot:nothing') },
)
const actionPattern = fc.oneof(
  { weight: 3, arbitrary: action },
  {
    weight: 2,
    arbitrary: fc.constantFrom(
      '*',
      'iot:*',
      'iot:?etain*',
      'IOT:publish',
      'iot:*e*',
      'iot:*ThingShadow',
      '*:Pub*',
      'iot:Re??ive',
    ),
  },
)

const head = fc.constantFrom(
  'arn:aws:iot:*:*:',
  'arn:aws:iot:*:*:',
  'arn:aws:iot:r:1:',
  'arn:aws:iot:r:2:',
  'arn:aws:iot:?:1:',
)
const type = fc.constantFrom('topic/', 'topic/', 'client/', 'topicfilter/', 'thing/', '*')
const resourcePattern = fc.oneof(
  { weight: 8, arbitrary: fc.tuple(head, type, text).map((parts) => parts.join('')) },
  { weight: 1, arbitrary: fc.constantFrom('*', '**', 'arn:aws:iot:*', 'arn:aws:iot:r:1:*') },
)

const quantifier = fc.constantFrom('', '', 'ForAllValues:', 'ForAnyValue:')
const ending = fc.constantFrom('', '', 'IfExists')

/** Conditions with one operator and one key: the operators of a kind, keys of that kind, and values worth comparing with. */
function comparing(
  operators: readonly string[],
  keys: readonly string[],
  value: fc.Arbitrary<string>,
): fc.Arbitrary<Record<string, Record<string, string[]>>> {
  const key = fc.oneof(
    { weight: 6, arbitrary: fc.constantFrom(...keys) },
    {
      weight: 1,
      arbitrary: fc.constantFrom(...keys).map((key) => key.replace(/^[^[]+/, (name) => name.toUpperCase())),
    },
    { weight: 1, arbitrary: fc.constantFrom(...variables) },
  )
  return fc
    .tuple(quantifier, fc.constantFrom(...operators), ending, key, fc.array(value, { maxLength: 3 }))
    .map(([set, operator, ending, key, values]) => ({ [`${set}${operator}${ending}`]: { [key]: values } }))
}

const bothOf = (...operators: readonly string[]) =>
  operators.flatMap((one) => [one, one.replace(/^([A-Z][a-z]+)/, '$1Not')])
const ordered = (kind: string) =>
  ['Equals', 'NotEquals', 'LessThan', 'LessThanEquals', 'GreaterThan', 'GreaterThanEquals'].map((one) => kind + one)
const listKeys = ['iot:ConnectAttributes', 'iot:Certificate.Subject.CommonName.List', 'iot:Certificate.AvailableKeys']
const textKeys = [
  'iot:ClientId',
  ...variables.slice(1, 10),
  'iot:DomainName',
  'aws:SourceIp',
  ...listKeys,
  'iot:Unknown',
]
const textValue = fc.oneof(
  text,
  name,
  fc.constantFrom(
    'LastWill',
    'PersistentConnect',
    'true',
    '10.0.0.7',
    'A',
    'iot:Certificate.Subject.CommonName',
    'a b\\,c',
    String.raw`a\\b`,
  ),
)
const condition = fc.oneof(
  {
    weight: 5,
    arbitrary: comparing(bothOf('StringEquals', 'StringLike', 'StringEqualsIgnoreCase'), textKeys, textValue),
  },
  comparing(['Bool'], ['iot:Connection.Thing.IsAttached'], fc.constantFrom('true', 'false', 'TRUE')),
  comparing(['BinaryEquals'], ['iot:ClientId'], fc.constantFrom('YQ==', 'YWI=', '8J+YgA==')),
  comparing(
    ordered('Numeric'),
    ['aws:EpochTime', 'iot:Connection.Thing.Attributes[floor]'],
    fc.constantFrom(
      '0',
      '5',
      '-1.5',
      '1700000000',
      '1.7e9',
      '${iot:Connection.Thing.Attributes[floor]}',
      '${iot:ClientId}',
    ),
  ),
  comparing(
    ordered('Date'),
    ['aws:CurrentTime', 'aws:EpochTime'],
    fc.constantFrom(
      '2026-01-01',
      '2023-11-14T22:13:20Z',
      '2023-11-14T23:13:20.500+01:00',
      '1700000000',
      '${aws:CurrentTime}',
    ),
  ),
  comparing(
    ['IpAddress', 'NotIpAddress'],
    ['aws:SourceIp', 'aws:VpcSourceIp'],
    fc.constantFrom(
      '10.0.0.0/8',
      '10.0.0.7',
      '0.0.0.0/0',
      '::/0',
      '2001:db8::/32',
      'fe80::/10',
      '::ffff:10.0.0.0/112',
      '::ffff:0:0/90',
      '${aws:SourceIp}',
      '${iot:DomainName}',
    ),
  ),
  comparing(
    bothOf('ArnEquals', 'ArnLike'),
    ['iot:LastWillTopic'],
    fc.oneof(
      fc.tuple(head, fc.constantFrom('topic/', '*'), text).map((parts) => parts.join('')),
      fc.constantFrom('*', 'arn:aws:iot:*', 'arn:aws:iot:r:1:topic/will/a'),
    ),
  ),
  fc
    .tuple(fc.constantFrom(...textKeys), fc.array(fc.constantFrom('true', 'false'), { minLength: 1, maxLength: 2 }))
    .map(([key, values]) => ({ Null: { [key]: values } })),
)
/** Several operators at once; one that comes up twice is taken once. */
const conditions = fc
  .array(condition, { minLength: 1, maxLength: 3 })
  .map((list): Record<string, Record<string, string[]>> => Object.assign({}, ...list) as never)

export const statement: fc.Arbitrary<OracleStatement> = fc
  .record({
    Effect: fc.constantFrom('Allow' as const, 'Allow' as const, 'Allow' as const, 'Deny' as const),
    actions: fc.tuple(
      fc.constantFrom('Action', 'Action', 'Action', 'NotAction'),
      fc.array(actionPattern, { minLength: 1, maxLength: 3 }),
    ),
    resources: fc.tuple(
      fc.constantFrom('Resource', 'Resource', 'Resource', 'Resource', 'NotResource'),
      fc.array(resourcePattern, { minLength: 1, maxLength: 3 }),
    ),
    Condition: fc.option(conditions, { nil: undefined, freq: 2 }),
  })
  .map(({ Effect, actions, resources, Condition }) => ({
    Effect,
    [actions[0]]: actions[1],
    [resources[0]]: resources[1],
    ...(Condition !== undefined && { Condition }),
  }))

/** Mostly short; the long ones are for what is done with many statements at once. */
const statements = fc.oneof(
  { weight: 15, arbitrary: fc.array(statement, { minLength: 1, maxLength: 4 }) },
  { weight: 1, arbitrary: fc.array(statement, { minLength: 10, maxLength: 30 }) },
)

export const document: fc.Arbitrary<OracleDocument> = statements.map((Statement) => ({
  Version: '2012-10-17',
  Statement,
}))

export const request: fc.Arbitrary<PolicyRequest> = fc
  .tuple(
    action,
    fc.constantFrom('topic/', 'client/', 'topicfilter/', 'thing/'),
    fc.array(name, { minLength: 1, maxLength: 3 }),
  )
  .map(([action, type, names]) => ({ action, resource: `arn:aws:iot:r:1:${type}${names.join('')}` }))

const certificateValue = fc.oneof(name, fc.constantFrom('a b,c', String.raw`a\b`, 'x'.repeat(1024), 'x'.repeat(1025)))
const certificateName = fc.record(
  {
    CommonName: fc.oneof(
      fc.array(certificateValue, { maxLength: 7 }),
      // The sixth isn't looked at any more.
      fc.constantFrom('a', 'b').map((fifth) => ['a', 'a', 'a', 'a', fifth, 'ab']),
    ),
    Organization: fc.array(certificateValue, { maxLength: 2 }),
    alternativeName: fc.record({ DNSName: fc.array(certificateValue, { maxLength: 2 }) }),
  },
  { requiredKeys: [] },
)

export const context: fc.Arbitrary<PolicyContext> = fc.record(
  {
    region: fc.constant('r'),
    accountId: fc.constant('1'),
    protocol: fc.constantFrom('mqtt' as const, 'mqtt' as const, 'mqtt-ws' as const, 'http' as const),
    principal: fc.record({
      type: fc.constantFrom('x509', 'cognito-authenticated', 'cognito-unauthenticated'),
      identityId: fc.constantFrom('a', 'r:1-2', ''),
    }),
    rolePolicies: fc.array(document, { maxLength: 2 }),
    clientId: name,
    // The same names, so that the client id is often that of the thing.
    thingName: fc.oneof(name, fc.constant('a')),
    isAttached: fc.constantFrom(true, true, false),
    exclusiveThing: fc.constantFrom(false, false, true),
    thingType: name,
    thingAttributes: fc.record(
      { site: name, Site: name, floor: fc.constantFrom('5', '-1.50', 'x') },
      { requiredKeys: [] },
    ),
    connectAttributes: fc.uniqueArray(fc.constantFrom('LastWill', 'PersistentConnect')),
    lastWillTopic: fc.constantFrom(...topics),
    sourceIp: fc.constantFrom(...addresses),
    sourceVpc: fc.constant('vpc-1'),
    sourceVpce: fc.constant('a'),
    domainName: fc.constantFrom('a', 'A', '10.0.0.7'),
    currentTime: fc.constantFrom(...times),
    certificate: fc.record(
      {
        certificateId: name,
        serialNumber: fc.constantFrom('a', '07'),
        subject: certificateName,
        issuer: certificateName,
      },
      { requiredKeys: [] },
    ),
  },
  { requiredKeys: ['protocol'] },
)
