import { deepEqual, equal, ok } from 'node:assert/strict'
import { join } from 'node:path'
import { describe, it, test } from 'node:test'
import * as fc from 'fast-check'
import type { Config } from '../../src/config/load.ts'
import { formatProblem } from '../../src/core/problem.ts'
import { Redactor } from '../../src/core/redactor.ts'
import { type LoadTestOptions, loadFolder, writeConfig } from '../support/config-folder.ts'

const files = {
  'sluice.yaml': `
listen: { http: { port: '\${env:HTTP_PORT}' } }
bridges:
  - { name: plant, url: 'mqtt://\${env:BROKER}', topics: ['a/#'], username: u, password: '\${file:secrets/bridge}' }
queue: '\${env:REDIS_URL}'
`,
  'secrets/bridge': 'bridge-password\n',
  'workers/alerts.yaml': `
kind: post
url: 'https://\${env:ALERTS_HOST:-example.com}'
retries: '\${env:ALERTS_RETRIES:-3}'
credential: { type: key, key: '\${env:ALERTS_KEY}' }
with: { group: '\${ $topic(1) }', delay: 5 }
delivery: { age: 1h }
`,
  'workers/files/not-read.yaml': 'kind: [',
  'workers/lake.yml': `
name: lake
kind: post
url: https://lake.example
spool: ./spool
tls: { ca: ../ca.pem }
credential: { type: pair, user: u, password: '\${file:../secrets/lake}' }
`,
  'secrets/lake': 'lake-password',
  'rules/r.yaml': `
from: [a/b, a/c]
where: x > 1
to:
  - worker: alerts
  - { worker: lake, with: { group: g } }
onError: [{ worker: alerts, with: { group: fixed }, on: [delivery, evaluation] }, { worker: alerts }]
tests:
  - given: { topic: a/b, payload: null }
    expect: { select: null }
`,
  'identity/a.yaml': `
things: [{ name: d-1, type: sensor, attributes: { site: hq }, groups: [field] }]
groups: [{ name: field, parent: all, policies: [telemetry] }, { name: all }]
principals:
  - { name: d-1, thing: d-1, policies: [telemetry], token: { sha256: ${'AB'.repeat(32)} } }
  - { name: constructor, actsFor: ['*'] }
`,
  'identity/policies/telemetry.json': '{ "Version": "2012-10-17", "Statement": [{ "Resource": "${iot:ClientId}" }] }',
}

const ingestEnv = { HTTP_PORT: '8081', BROKER: 'broker', REDIS_URL: 'redis://:ingest-pw@queue' }
const alertsEnv = { REDIS_URL: 'redis://:alerts-pw@queue', ALERTS_KEY: 'alerts-key' }

async function load(folder: string, options: LoadTestOptions = {}): Promise<Config> {
  const { problems, config } = await loadFolder(folder, options)
  deepEqual(problems.map(formatProblem), [])
  if (config === undefined) throw new Error('no config')
  return config
}

describe('loadConfig', () => {
  it('of everything gives every value, checked and resolved', async (t) => {
    const folder = await writeConfig(t, files)
    const { settings, workers, rules, directory, file } = await load(folder, { env: { ...ingestEnv, ...alertsEnv } })
    equal(file, join(folder, 'sluice.yaml'))
    equal(settings.listen.http?.port, 8081)
    equal(settings.listen.mqtt, undefined)
    deepEqual(settings.queue, {
      url: alertsEnv.REDIS_URL,
      acceptLoss: false,
      envelope: { messages: 256, bytes: 1_048_576 },
    })
    equal(settings.bridges[0]?.password, 'bridge-password')
    equal(settings.data, join(folder, 'data'))
    equal(settings.shutdown, 20_000)

    deepEqual([...workers.keys()], ['alerts', 'lake'])
    const alerts = workers.get('alerts')
    deepEqual(alerts?.settings, { url: 'https://example.com', retries: 3 })
    deepEqual(alerts?.credential, { type: 'key', settings: { key: 'alerts-key' } })
    deepEqual(alerts?.delivery, { attempts: 10, age: 3_600_000, backoff: { first: 500, max: 300_000 }, concurrency: 4 })
    equal(alerts?.keep, 'original')
    const lake = workers.get('lake')
    deepEqual(lake?.settings, {
      url: 'https://lake.example',
      retries: 0,
      spool: join(folder, 'workers/spool'),
      tls: { ca: join(folder, 'ca.pem') },
    })
    deepEqual(lake?.credential?.settings, { user: 'u', password: 'lake-password' })
    deepEqual(lake?.position, { file: 'workers/lake.yml', line: 2, column: 7 })

    const [rule] = rules
    equal(rule?.name, 'r')
    deepEqual(rule?.from, ['a/b', 'a/c'])
    equal(rule !== undefined && 'select' in rule, false)
    deepEqual(
      rule?.onError.map(({ on }) => on),
      [['delivery', 'evaluation'], ['delivery']],
    )
    deepEqual(rule?.tests, [
      {
        name: 'r 1',
        position: { file: 'rules/r.yaml', line: 9, column: 5 },
        given: { topic: 'a/b', payload: null },
        expect: { select: null },
      },
    ])

    deepEqual(directory.things.get('d-1'), {
      name: 'd-1',
      type: 'sensor',
      attributes: { site: 'hq' },
      groups: ['field'],
      policies: [],
    })
    deepEqual(directory.principals.get('d-1')?.proofs, { token: { sha256: 'ab'.repeat(32) } })
    deepEqual(directory.principals.get('constructor')?.actsFor, ['*'])
    equal(directory.principals.get('toString'), undefined)
    const policy = directory.policies.get('telemetry')
    deepEqual(policy?.document, { Version: '2012-10-17', Statement: [{ Resource: '${iot:ClientId}' }] })
    deepEqual(policy?.position, { file: 'identity/policies/telemetry.json', line: 1, column: 1 })
  })

  it('lays templates of a worker’s defaults under the actions, because ingest renders them', async (t) => {
    const folder = await writeConfig(t, files)
    const { rules } = await load(folder, { env: { ...ingestEnv, ...alertsEnv } })
    deepEqual(rules[0]?.to[0], { worker: 'alerts', with: { group: '${ $topic(1) }' } })
    deepEqual(rules[0]?.to[1], { worker: 'lake', with: { group: 'g' } })
    deepEqual(rules[0]?.onError[0]?.with, { group: 'fixed' })
  })

  it('of ingest needs no secret of a worker and gives none', async (t) => {
    const folder = await writeConfig(t, { ...files, 'secrets/lake': '' })
    const redactor = new Redactor()
    const options = { role: { kind: 'ingest' }, env: { ...ingestEnv, ALERTS_KEY: 'alerts-key' }, redactor } as const
    for (const registry of [{}, { forwarders: undefined, credentials: undefined }]) {
      const config = await load(folder, { ...options, ...registry })
      const alerts = config.workers.get('alerts')
      equal(alerts?.settings, undefined)
      equal(alerts?.credential, undefined)
      equal(alerts?.kind, 'post')
      deepEqual(alerts?.with, { group: '${ $topic(1) }', delay: 5 })
      equal(JSON.stringify([...config.workers.values()]).includes('alerts-key'), false)
      equal(config.settings.queue.url, ingestEnv.REDIS_URL)
      equal(config.rules.length, 1)
    }
    equal(redactor.scrub('alerts-key'), 'alerts-key', 'it was never looked at')
    equal(redactor.scrub('bridge-password'), '[redacted]')
  })

  it('of a worker needs its own secrets only, and neither doors, rules nor identities', async (t) => {
    const folder = await writeConfig(t, {
      ...files,
      'secrets/bridge': '',
      'workers/broken.yaml': 'kind: [',
      'workers/other.yaml': 'kind: nonsense\nname: other',
      'rules/bad.yaml': 'from: 5',
      'identity/bad.yaml': 'nothing: here',
    })
    const config = await load(folder, { role: { kind: 'workers', names: ['alerts'] }, env: alertsEnv })
    deepEqual([...config.workers.keys()], ['alerts'])
    deepEqual(config.workers.get('alerts')?.credential, { type: 'key', settings: { key: 'alerts-key' } })
    deepEqual(config.settings.bridges, [])
    equal(config.settings.queue.url, alertsEnv.REDIS_URL)
    deepEqual(config.rules, [])
    equal(config.directory.principals.size, 0)
  })

  it('of a worker that has no file says so', async (t) => {
    const folder = await writeConfig(t, files)
    const { problems } = await loadFolder(folder, { role: { kind: 'workers', names: ['alrets'] }, env: alertsEnv })
    deepEqual(problems.map(formatProblem), [
      'workers:1:1: no file here is of a worker named "alrets"; did you mean "alerts"?',
    ])
  })

  it('without a resolver tells everything that can be told without values', async (t) => {
    const folder = await writeConfig(t, {
      ...files,
      'workers/x.yaml': "kind: post\nurl: '${env:URL}'\nretries: '${env:N}'\nnonsense: 1\n",
    })
    const { problems } = await loadFolder(folder, { resolverFor: undefined })
    deepEqual(problems.map(formatProblem), [
      'workers/x.yaml:1:1: credential is missing; a worker of kind "post" needs one: key, pair',
      'workers/x.yaml:4:1: unknown key "nonsense"; known here: url, retries, spool, tls, name, kind, keep, delivery, backlog, queue, with, credential',
    ])
  })

  it('reads PEM files of bridges, for ingest only', async (t) => {
    const pem = '-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----\n'
    const bridge = (ca: string) => ({
      'sluice.yaml': `bridges: [{ name: b, url: 'mqtts://b', topics: ['#'], tls: { ca: ${ca} } }]`,
      'tls/ca.pem': pem,
      'tls/not.pem': 'x',
    })
    const { settings } = await load(await writeConfig(t, bridge('tls/ca.pem')))
    equal(settings.bridges[0]?.tls?.ca, pem.trimEnd())
    const wrong = await loadFolder(await writeConfig(t, bridge('tls/not.pem')))
    deepEqual(wrong.problems.map(formatProblem), [
      'sluice.yaml:1:66: bridges.0.tls.ca must be PEM text or the path of a PEM file',
    ])
  })

  it('shows paths relative to where it was started, or whole', async (t) => {
    const folder = await writeConfig(t, { 'conf/sluice.yaml': 'nonsense: 1' })
    const of = async (options: LoadTestOptions) => (await loadFolder(folder, options)).problems[0]?.file
    equal(await of({ file: 'conf/sluice.yaml' }), 'conf/sluice.yaml')
    equal(await of({ file: join(folder, 'conf/sluice.yaml'), cwd: '/' }), join(folder, 'conf/sluice.yaml').slice(1))
    equal(await of({ file: '../sluice.yaml', cwd: join(folder, 'conf/deeper') }), join(folder, 'conf/sluice.yaml'))
  })

  it('ignores what editors and Kubernetes leave behind', async (t) => {
    const hidden = {
      'rules/.#r.yaml': '[',
      'rules/..data/r.yaml': '[',
      'rules/r.yaml~': '[',
      'identity/x.json': '[',
      'workers/.w.yaml.swp': '[',
    }
    await load(await writeConfig(t, { ...files, ...hidden }), { env: { ...ingestEnv, ...alertsEnv } })
  })
})

test('whatever bytes the files hold, loading gives problems or a config and never throws', async (t) => {
  const value = fc.oneof(
    fc.json(),
    fc.string({ unit: 'binary' }),
    fc.constantFrom(
      'from: a',
      'to: [{ worker: w, with: 5 }]',
      'rules: [1]',
      'things: [null]',
      'policies: { p: null }',
      'credential: 5',
      'kind: post',
      'with: []',
      'bridges: [{}]',
    ),
  )
  const content = fc.array(value, { maxLength: 3 }).map((parts) => parts.join('\n'))
  const names = [
    'sluice.yaml',
    'rules/r.yaml',
    'workers/w.yaml',
    'identity/i.yaml',
    'identity/policies/p.json',
  ] as const
  await fc.assert(
    fc.asyncProperty(fc.tuple(content, content, content, content, content), async (contents) => {
      const folder = await writeConfig(t, Object.fromEntries(names.map((name, index) => [name, contents[index] ?? ''])))
      const { problems, config } = await loadFolder(folder, { examinePolicyDocument: () => [] })
      ok((config === undefined) === problems.length > 0)
      for (const problem of problems)
        ok(
          names.some((name) => name === problem.file),
          problem.file,
        )
    }),
    { numRuns: 150 },
  )
})
