// Decisions a second on one core for one principal with 10 policies of 10 statements, compiled and uncached, beside the plain evaluator
// of the tests (test/support/policy-oracle.ts), which reads the documents anew each time. Answers are compared with it before anything is
// measured. The statements hold variables; connections take turns, so that nothing of the one before helps. Aim: 1,000,000 a second.
//
//   node bench/policy.ts [--smoke] [--json] [--seconds N]
import { deepEqual } from 'node:assert/strict'
import { parseArgs } from 'node:util'
import { compilePolicies } from '../src/policy/compile.ts'
import type { PolicyContext, PolicyRequest } from '../src/policy/context.ts'
import { type OracleDocument, type OracleStatement, oracleDecision } from '../test/support/policy-oracle.ts'

const { values } = parseArgs({
  options: {
    smoke: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    seconds: { type: 'string' },
  },
})
const seconds = Number(values.seconds ?? (values.smoke ? 0.05 : 1.5))
const arn = 'arn:aws:iot:eu-central-1:123456789012:'
const connections = 64
const requestsEach = 50

interface Scenario {
  readonly name: string
  readonly statements: readonly OracleStatement[]
  /** The resource of the `index`th request of a connection. */
  readonly request: (connection: PolicyContext, index: number) => PolicyRequest
  readonly context?: PolicyContext
}

function statement(Effect: 'Allow' | 'Deny', Action: string, tail: string, rest: object = {}): OracleStatement {
  return { Effect, Action, Resource: `arn:aws:iot:*:*:${tail}`, ...rest }
}

function hundred(make: (index: number) => OracleStatement): OracleStatement[] {
  return Array.from({ length: 100 }, (_, index) => make(index))
}

function publish(topic: string, rest: object = {}): PolicyRequest {
  return { action: 'iot:Publish', resource: `${arn}topic/${topic}`, ...rest }
}

const thing = '${iot:Connection.Thing.ThingName}'
const site = '${iot:Connection.Thing.Attributes[site]}'
/** Where a principal's topics begin; the statements take turns. */
const begins = [
  `devices/${thing}`,
  `sites/${site}/${thing}`,
  'clients/${iot:ClientId}',
  'owners/${iot:Certificate.Subject.CommonName}',
]
function begin({ thingName, thingAttributes, clientId, certificate }: PolicyContext, index: number): string {
  const owner = (certificate?.subject?.['CommonName'] as readonly string[] | undefined)?.[0]
  return [
    `devices/${thingName}`,
    `sites/${thingAttributes?.['site']}/${thingName}`,
    `clients/${clientId}`,
    `owners/${owner}`,
  ][index % 4] as string
}
const topicOf = (index: number) => `${begins[index % 4]}/channel-${index}/*`
/** Spread over all statements, and over many rounds each of them. */
const spread = (index: number) => (index * 37) % 100
const own = (connection: PolicyContext, index: number) =>
  publish(`${begin(connection, index)}/channel-${index}/celsius`)

const kinds = ['iot:Publish', 'iot:Subscribe', 'iot:Receive', 'iot:Connect', 'iot:RetainPublish']
const types = ['topic/', 'topicfilter/', 'topic/', 'client/', 'topic/']

const scenarios: readonly Scenario[] = [
  {
    name: 'all publish, hits everywhere',
    statements: hundred((index) => statement('Allow', 'iot:Publish', `topic/${topicOf(index)}`)),
    request: (connection, index) => own(connection, spread(index)),
  },
  {
    name: 'all publish, hits at the end',
    statements: hundred((index) => statement('Allow', 'iot:Publish', `topic/${topicOf(index)}`)),
    request: (connection, index) => own(connection, 96 + (index % 4)),
  },
  {
    name: 'all publish, misses',
    statements: hundred((index) => statement('Allow', 'iot:Publish', `topic/${topicOf(index)}`)),
    request: (connection, index) =>
      index % 2 === 0 ? publish(`devices/${connection.thingName}/other`) : publish(`devices/another/channel-8/celsius`),
  },
  {
    name: 'all publish, a third denies',
    statements: hundred((index) =>
      statement(index % 3 === 0 ? 'Deny' : 'Allow', 'iot:Publish', `topic/${topicOf(index)}`),
    ),
    request: (connection, index) => own(connection, spread(index)),
  },
  {
    name: 'all publish, conditions',
    statements: hundred((index) =>
      statement('Allow', 'iot:Publish', `topic/${topicOf(index)}`, {
        Condition: [
          { Bool: { 'iot:Connection.Thing.IsAttached': 'true' } },
          { StringEquals: { 'iot:Connection.Thing.ThingTypeName': ['pump', 'valve'] } },
          { IpAddress: { 'aws:SourceIp': ['10.0.0.0/8', '192.0.2.0/24'] } },
          { StringLike: { 'iot:ClientId': 'd-*' }, Bool: { 'iot:Connection.Thing.IsAttached': 'true' } },
        ][(index >> 2) % 4],
      }),
    ),
    request: (connection, index) => own(connection, spread(index)),
  },
  {
    name: 'all publish, stars in front',
    statements: hundred((index) => statement('Allow', 'iot:Publish', `topic/*/${thing}/channel-${index}`)),
    request: ({ thingName }, index) => publish(`sites/hq/${thingName}/channel-${spread(index)}`),
  },
  {
    name: 'all publish, several thousand topics',
    statements: hundred((index) => ({
      Effect: index % 10 === 0 ? 'Deny' : 'Allow',
      Action: ['iot:Publish', 'iot:Receive'],
      Resource: Array.from({ length: 30 }, (_, one) => `arn:aws:iot:*:*:topic/${topicOf(index)}${one}`),
    })),
    request: (connection, index) =>
      publish(`${begin(connection, spread(index))}/channel-${spread(index)}/celsius${index % 30}`),
  },
  {
    name: 'all publish, no thing is known',
    statements: hundred((index) =>
      statement(index % 10 === 0 ? 'Deny' : 'Allow', 'iot:Publish', `topic/${topicOf(index)}`),
    ),
    request: (connection, index) => own(connection, spread(index)),
    context: { isAttached: false },
  },
  {
    name: 'mixed actions',
    statements: hundred((index) => {
      const kind = kinds[index % 5] as string
      if (kind === 'iot:Connect') return statement('Allow', kind, `client/${thing}`)
      return statement(index % 20 === 0 ? 'Deny' : 'Allow', kind, `${types[index % 5]}${topicOf(index)}`)
    }),
    request: (connection, index) => {
      const at = spread(index)
      const action = kinds[at % 5] as string
      if (action === 'iot:Connect') return { action, resource: `${arn}client/${connection.clientId}` }
      return { action, resource: `${arn}${types[at % 5]}${begin(connection, at)}/channel-${at}/celsius` }
    },
  },
]

function connection(index: number): PolicyContext {
  return {
    region: 'eu-central-1',
    accountId: '123456789012',
    protocol: 'mqtt',
    principal: { type: 'x509' },
    clientId: `d-${index}`,
    thingName: `d-${index}`,
    thingType: 'pump',
    thingAttributes: { site: `site-${index % 7}`, floor: String(index % 5) },
    isAttached: true,
    sourceIp: `10.0.${index}.7`,
    connectAttributes: ['PersistentConnect'],
    certificate: {
      certificateId: String(index).repeat(8),
      subject: { CommonName: [`owner-${index}`], Country: ['DE'] },
    },
    currentTime: 1_700_000_000_000,
  }
}

interface Row {
  readonly name: string
  readonly decisions: number
  readonly plain: number
  readonly allowed: number
}

function measure({ name, statements, request, context }: Scenario): Row {
  const documents = Array.from({ length: 10 }, (_, index): OracleDocument => ({
    Version: '2012-10-17',
    Statement: statements.slice(index * 10, index * 10 + 10),
  }))
  const compiled = compilePolicies(documents)
  deepEqual(compiled.malformed, [])
  const contexts = Array.from({ length: connections }, (_, index) => ({ ...connection(index), ...context }))
  const asked = Array.from({ length: requestsEach }, (_, index) =>
    contexts.map((context, number) => ({ context, request: request(connection(number), index) })),
  ).flat()
  for (const { request, context } of asked.filter((_, index) => index % (values.smoke ? 70 : 7) === 0)) {
    const expected = oracleDecision(documents, request, context)
    deepEqual(compiled.decide(request, context), expected, `${name}: ${request.resource}`)
  }
  const decide = ({ request, context }: (typeof asked)[number]) => compiled.decide(request, context)
  const plain = ({ request, context }: (typeof asked)[number]) => oracleDecision(documents, request, context)
  rate(asked, decide, seconds / 3)
  return {
    name,
    decisions: rate(asked, decide, seconds),
    plain: rate(asked, plain, seconds / 3, 4),
    allowed: asked.filter((one) => decide(one).decision === 'allow').length / asked.length,
  }
}

/** Calls a second; the clock is read once in `chunk` calls. */
function rate<Item>(items: readonly Item[], call: (item: Item) => unknown, seconds: number, chunk = 1_000): number {
  let calls = 0
  let index = 0
  const start = performance.now()
  let elapsed = 0
  while (elapsed < seconds * 1000) {
    for (let left = chunk; left > 0; left -= 1) {
      call(items[index] as Item)
      index = index + 1 === items.length ? 0 : index + 1
    }
    calls += chunk
    elapsed = performance.now() - start
  }
  return (calls / elapsed) * 1000
}

const rows = scenarios.map(measure)
if (values.json) console.log(JSON.stringify({ connections, seconds, rows }))
else {
  console.log(`\n10 policies of 10 statements, ${connections} connections, ${seconds} s each\n`)
  for (const { name, decisions, plain, allowed } of rows) {
    const columns = [
      name.padEnd(38),
      `${(decisions / 1e6).toFixed(2)} M/s`.padStart(10),
      `plain ${Math.round(plain).toString()}/s`.padStart(16),
      `ratio ${Math.round(decisions / plain).toString()}`.padStart(14),
      `allowed ${Math.round(allowed * 100)} %`.padStart(16),
    ]
    console.log(columns.join(''))
  }
  const slowest = Math.min(...rows.map(({ decisions }) => decisions))
  console.log(`\nslowest ${(slowest / 1e6).toFixed(2)} M/s   (aim: 1.00)`)
}
