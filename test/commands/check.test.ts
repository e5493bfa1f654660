import { deepEqual, equal, match } from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import { temporaryFolder } from '../support/cleanup.ts'
import { openMaker } from '../identity/x509-makers.ts'
import { command, suiteScope } from '../support/command.ts'
import { writeFiles } from '../support/sluice.ts'

/** Something wrong in every file, of every sort that the way of a message meets. */
const files = {
  'sluice.yaml': `listne: {}
bridges:
  - { name: plant, url: 'mqtt://127.0.0.1', topics: ['a/#'], password: '\${file:./no-such-secret}' }
`,
  'rules/broken.yaml': 'from: a/b\n  to: [broken\n',
  'rules/hot.yaml': `name: hot
form: a/b
from: a/#/b
where: celsius > 30
select: |
  { "a": $topic(2),
    "b": (1 + }
to: [{ worker: alrets }]
`,
  'rules/map.yaml': 'name: hot\nfrom: a/b\nselect: { "celsius": celsius }\nto: [{ worker: alerts }]\n',
  'rules/sql.yaml': "sql: SELECT * FROM 'a/b'\nto: [{ worker: alerts }]\n",
  'rules/two.yaml': 'from: a/b\nwhere: $matches(x, 1)\nto: [{}]\n',
  'workers/alerts.yaml': `kind: http
url: https://example.com
credential: { type: bearer, token: '\${env:NO_SUCH_TOKEN}' }
delivry: {}
`,
  'identity/a.yaml': `principals:
  - { name: p, policies: [nope], token: { sha256: 12 } }
policies:
  x: { Version: '2012-10-17', Statement: [{ Effect: Permit, Action: iot:Publish, Resource: '*' }] }
`,
}

/** What is said of them, in the order of files, lines and columns. `*` stands for words that belong to a library or another folder's test. */
const wanted = [
  'identity/a.yaml:2:51: principals.0.token.sha256 must be text, and is a number',
  'identity/a.yaml:4:53: policies.x.Statement.0.Effect: *',
  'rules/broken.yaml:1:7: not valid YAML: *',
  'rules/hot.yaml:2:1: unknown key "form"; did you mean "from"?',
  'rules/hot.yaml:3:7: from: "#" must be the whole last level, and "a/#/b" has it elsewhere',
  'rules/hot.yaml:7:15: select: *',
  'rules/hot.yaml:8:16: to.0.worker: there is no worker "alrets"; did you mean "alerts"?',
  'rules/map.yaml:1:7: a rule named "hot" is already at rules/hot.yaml:1:7',
  'rules/map.yaml:3:9: select must be JSONata text, and YAML reads it as data; write it as a block: select: |',
  'rules/sql.yaml:1:1: sql: *',
  'rules/two.yaml:2:8: where: there is no function $matches; did you mean $match?',
  'rules/two.yaml:3:6: to.0.worker is missing',
  'sluice.yaml:1:1: unknown key "listne"; did you mean "listen"?',
  'sluice.yaml:3:73: the file FOLDER/no-such-secret cannot be read: there is no such file',
  'workers/alerts.yaml:3:37: the environment variable NO_SUCH_TOKEN is not set; *',
  'workers/alerts.yaml:4:1: unknown key "delivry"; did you mean "delivery"?',
]

const ofIngest = wanted.filter((line) => !line.includes('NO_SUCH_TOKEN'))
const ofWorker = wanted.filter((line) => /^(sluice\.yaml:1:|workers)/.test(line))

describe('problems of all files', { concurrency: 3 }, () => {
  let folder = ''
  const scope = suiteScope()
  before(async () => {
    folder = await temporaryFolder(scope)
    await writeFiles(folder, files)
  })

  /** The lines, each cut to what is wanted of it, so that a difference shows the whole line. */
  function equalLines(text: string, lines: readonly string[]): void {
    const got = text.replaceAll(folder, 'FOLDER').trimEnd().split('\n')
    const cut = got.map((line, index) => {
      const start = lines[index]?.endsWith('*') ? lines[index].slice(0, -1) : undefined
      return start !== undefined && line.startsWith(start) && line.length > start.length ? lines[index] : line
    })
    deepEqual(cut, [...lines, '', `${lines.length} problems`])
  }

  test('check prints them as its answer, without colours in a pipe', async (context) => {
    const ran = await command(context, folder, ['check'])
    equalLines(ran.stdout, wanted)
    deepEqual([ran.code, ran.stderr, ran.stdout.includes('\u001B')], [1, '', false])
  })

  test('check --skip-references says nothing of secrets, and the rest', async (context) => {
    const ran = await command(context, folder, ['check', '--skip-references'])
    equalLines(
      ran.stdout,
      ofIngest.filter((line) => !line.includes('no-such-secret')),
    )
    equal(ran.code, 1)
  })

  test('check --json is one document, with a path inside the file for each', async (context) => {
    const ran = await command(context, folder, ['check', '--json'])
    const { problems, orphans } = JSON.parse(ran.stdout) as {
      problems: { file: string; line: number; column: number; path: string; message: string }[]
      orphans: unknown[]
    }
    equalLines(
      [
        ...problems.map(({ file, line, column, message }) => `${file}:${line}:${column}: ${message}`),
        '',
        '16 problems',
      ].join('\n'),
      wanted,
    )
    deepEqual(
      problems.filter(({ file }) => file === 'rules/hot.yaml').map(({ path }) => path),
      ['form', 'from', 'select', 'to.0.worker'],
    )
    deepEqual([orphans, ran.code, ran.stderr], [[], 1, ''])
  })

  for (const [parameters, lines] of [
    [['start'], wanted],
    [['ingest'], ofIngest],
    [['worker', 'alerts'], ofWorker],
  ] as const) {
    test(`${parameters.join(' ')} refuses to start on those that are its own`, async (context) => {
      const ran = await command(context, folder, parameters)
      equalLines(ran.stderr, lines)
      deepEqual([ran.code, ran.stdout], [1, ''])
    })
  }
})

test('check of fine files says how much there is; a reader that leaves early is no error', async (context) => {
  const folder = await temporaryFolder(context)
  await writeFiles(folder, {
    'sluice.yaml': '',
    'rules/one.yaml': 'from: a/b\nto: [{ worker: alerts }]\n',
    'workers/alerts.yaml': 'kind: log\n',
  })
  const fine = await command(context, folder, ['check'])
  deepEqual(fine, { code: 0, stdout: 'fine: 1 rule, 1 worker, 0 principals, 0 policies\n', stderr: '' })
  const json = await command(context, folder, ['check', '--json'])
  deepEqual([json.code, JSON.parse(json.stdout)], [0, { problems: [], notes: [], orphans: [] }])
})

test('check notes a shared bridge, which Mosquitto forgets, and what is right instead', async (context) => {
  const folder = await temporaryFolder(context)
  const bridge = (more: string) => `  - { name: plant, url: 'mqtt://broker', topics: [a/#]${more} }\n`
  await writeFiles(folder, { 'sluice.yaml': `bridges:\n${bridge(', share: sluice')}` })
  const noted = await command(context, folder, ['check'])
  match(
    noted.stdout,
    /^sluice\.yaml:2:\d+: bridges\.0\.share: Mosquitto forgets .* \(a note: it is taken as it is\)\nfine: /,
  )
  deepEqual([noted.code, noted.stderr], [0, ''])
  await writeFiles(folder, { 'sluice.yaml': `bridges:\n${bridge('')}` })
  match((await command(context, folder, ['check'])).stdout, /^fine: /)
})

test('check notes a bridge whose devices share their ids', async (context) => {
  const folder = await temporaryFolder(context)
  const bridge = (more: string) =>
    `bridges:\n  - { name: plant, url: 'mqtt://broker', topics: [a/#], id: '\${ n }'${more} }\n`
  await writeFiles(folder, { 'sluice.yaml': bridge('') })
  match(
    (await command(context, folder, ['check'])).stdout,
    /^sluice\.yaml:2:\d+: bridges\.0\.id: without "thing" .* \(a note/,
  )
  await writeFiles(folder, { 'sluice.yaml': bridge(", thing: '${ $topic(2) }', actsFor: ['*'], unknownThings: allow") })
  match((await command(context, folder, ['check'])).stdout, /^fine: /)
})

test('a configuration file elsewhere: its paths start from its folder, problems are shown from here', async (context) => {
  const folder = await temporaryFolder(context)
  await writeFiles(folder, { 'etc/sluice.yaml': '', 'etc/rules/one.yaml': 'from: a/b\n' })
  const ran = await command(context, folder, ['check', '--config', 'etc/sluice.yaml'])
  deepEqual([ran.code, ran.stdout], [1, 'etc/rules/one.yaml:1:1: to is missing\n\n1 problem\n'])
  match((await command(context, folder, ['check', '--config', 'etc'])).stdout, /^etc:1:1: .*it is not a file/)
})

test('check says which server certificate can’t be served, and where it is named', async (context) => {
  const folder = await temporaryFolder(context)
  const maker = await openMaker(context)
  const [own, other] = ['/CN=own', '/CN=other'].map((subject) => maker.selfSigned(subject, []))
  await writeFiles(folder, {
    'sluice.yaml':
      'listen: { https: {} }\ntls:\n  certificates:\n    - { certificate: own.pem, key: other.key }\n    - { certificate: own.pem, key: own.key }\n',
    'own.pem': own?.pem,
    'own.key': own?.key,
    'other.key': other?.key,
  })
  const checked = await command(context, folder, ['check'])
  equal(checked.code, 1)
  match(
    checked.stdout,
    /^sluice\.yaml:4:36: tls\.certificates\.0\.key does not belong to its certificate \(.*other\.key\)$/m,
  )
  equal((await command(context, folder, ['check', '--skip-references'])).code, 0)
})

test('check notes a bridge whose messages can only be refused, and says where and why', async (context) => {
  const folder = await temporaryFolder(context)
  const noted = async (bridge: string, identity: string) => {
    const text = `bridges:\n  - name: plant\n    url: mqtt://broker\n    topics: ['devices/#']\n${bridge}`
    await writeFiles(folder, { 'sluice.yaml': text, 'identity/all.yaml': identity === '' ? 'things: []\n' : identity })
    const ran = await command(context, folder, ['check'])
    deepEqual([ran.code, ran.stderr], [0, ''])
    return ran.stdout
  }
  const thing = "    thing: '${ $topic(2) }'\n"
  const all = "    actsFor: ['*']\n"
  const allows = (action: string) =>
    `policies:\n  own: { Version: '2012-10-17', Statement: [{ Effect: Allow, Action: ${action}, Resource: '*' }] }\n`
  const things = 'things: [{ name: dev-1, groups: [field] }]\ngroups: [{ name: field, policies: [own] }]\n'
  match(await noted(thing, ''), /^sluice\.yaml:5:12: bridges\.0\.thing: the bridge "plant" may speak for no thing/)
  match(await noted(thing + all, ''), /^sluice\.yaml:5:12: bridges\.0\.thing: no thing in identity\//)
  match(await noted(thing + "    actsFor: ['pump-*']\n", things + allows('iot:Publish')), /no thing in identity\//)
  const principals = 'things: [{ name: dev-1 }]\nprincipals: [{ name: dev-1, thing: dev-1, policies: [own] }]\n'
  match(await noted(thing + all, principals + allows('iot:*')), /:5:12: .*Policies of a principal don’t count here/)
  match(await noted(thing + all, things + allows('iot:Connect')), /:5:12: .*allows iot:Publish \(as of "dev-1"\)/)
  match(
    await noted('    policies: [own]\n', allows('iot:Connect')),
    /:5:15: bridges\.0\.policies: none of its policies/,
  )
  for (const [bridge, identity] of [
    ['', ''],
    [thing + all, things + allows('iot:Pub*')],
    [`${thing + all}    unknownThings: allow\n`, ''],
    [`${thing + all}    trust: topics\n`, principals + allows('iot:*')],
    ['    policies: [own]\n', allows('iot:Publish')],
  ] as const)
    match(await noted(bridge, identity), /^fine: /)
})
