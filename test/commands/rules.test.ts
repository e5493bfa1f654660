import { deepEqual, equal, match } from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import { temporaryFolder } from '../support/cleanup.ts'
import { command, ended, suiteScope } from '../support/command.ts'
import { run } from '../support/process.ts'
import { plainEnvironment, writeFiles } from '../support/sluice.ts'
import { fileURLToPath } from 'node:url'

const bin = fileURLToPath(new URL('../../bin/sluice.js', import.meta.url))

const hot = (expected: string) => `from: rooms/+/climate
where: celsius > 30
select: |
  { "room": $topic(2), "celsius": celsius }
to: [{ worker: alerts }]
tests:
  - name: a hot room
    given: { topic: rooms/7/climate, payload: { celsius: 31 } }
    expect: { select: ${expected}, to: [alerts] }
`

describe('commands that look at rules', { concurrency: 3 }, () => {
  let folder = ''
  const scope = suiteScope()
  before(async () => {
    folder = await temporaryFolder(scope)
    await writeFiles(folder, {
      // A worker's secret is missing, and none of these commands wants it.
      'sluice.yaml': '',
      'workers/alerts.yaml':
        "kind: http\nurl: https://example.com\ncredential: { type: bearer, token: '${env:MISSING}' }\n",
      'rules/hot.yaml': hot("{ room: '7', celsius: 31 }"),
      'rules/raw.yaml': 'from: raw\nto: [{ worker: alerts }]\n',
      'rules/number.yaml':
        'from: number\nselect: $number(text)\nto: [{ worker: alerts }]\nonError: [{ worker: alerts, on: [evaluation] }]\n',
      'other/cold.yaml': hot('{ room: "8", celsius: { $any: string } }'),
    })
  })

  test('test runs the tests of all rules, and names rules without', async (context) => {
    const ran = await command(context, folder, ['test'])
    deepEqual(ran, {
      code: 0,
      stdout: 'ok   hot: a hot room\nwithout tests: number, raw\n\n1 passed, 0 failed\n',
      stderr: '',
    })
  })

  test('a test that fails says where it stands and what is different', async (context) => {
    const ran = await command(context, folder, ['test', 'other/cold.yaml', 'rules/hot.yaml'])
    equal(ran.code, 1)
    match(ran.stdout, /^fail cold: a hot room\n {5}other\/cold\.yaml:7:5: select\.room: expected "8", got "7"$/m)
    match(ran.stdout, /^ok {3}hot: a hot room$/m)
    match(ran.stdout, /\n1 passed, 1 failed\n$/)
  })

  test('test --json says the same for machines', async (context) => {
    const ran = await command(context, folder, ['test', '--json', 'other'])
    const { results, passed, failed } = JSON.parse(ran.stdout) as {
      results: { rule: string; test: string; position: { file: string; line: number }; problems: string[] }[]
      passed: number
      failed: number
    }
    deepEqual([ran.code, passed, failed, results[0]?.position.file], [1, 0, 1, 'other/cold.yaml'])
    match(results[0]?.problems.join('\n') ?? '', /room/)
  })

  test('eval goes on after lines that are no messages, says their numbers, and ends with 1', async (context) => {
    const input = [
      '{"topic":"rooms/7/climate","payload":{"celsius":31}}',
      '{"topic":"rooms/7/climate"',
      '',
      '{"topic":"rooms/+/climate","payload":1}',
      '{"topic":"raw","payloadBase64":"AP8="}',
      '{"topic":"raw","payload":1,"payolad":2}',
      '[]',
      '{"topic":"number","payload":{"text":"x"}}',
      '{"topic":"nobody/cares","payloadText":"no JSON"}',
      '{"topic":"raw","payloadText":"no JSON"}',
    ].join('\n')
    const ran = await command(context, folder, ['eval'], { input })
    deepEqual(
      ran.stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as Record<string, unknown>)
        .map(({ reason, ...rest }) => ({ ...rest, ...(reason !== undefined && { reason: typeof reason }) })),
      [
        {
          line: 1,
          topic: 'rooms/7/climate',
          rule: 'hot',
          outcome: 'deliveries',
          output: { room: '7', celsius: 31 },
          to: [{ worker: 'alerts' }],
        },
        {
          line: 5,
          topic: 'raw',
          rule: 'raw',
          outcome: 'deliveries',
          output: { base64: 'AP8=' },
          to: [{ worker: 'alerts' }],
        },
        { line: 8, topic: 'number', rule: 'number', outcome: 'failed', onError: ['alerts'], reason: 'string' },
        { line: 9, topic: 'nobody/cares', outcome: 'no rule' },
        { line: 10, topic: 'raw', rule: 'raw', outcome: 'deliveries', output: 'no JSON', to: [{ worker: 'alerts' }] },
      ],
    )
    const complaints = ran.stderr.trim().split('\n')
    deepEqual(
      complaints.map((line) => line.replace(/^(line \d+: (?:not JSON|topic)?).*/, '$1')),
      ['line 2: not JSON', 'line 4: topic', 'line 6: ', 'line 7: '],
    )
    match(complaints[1] ?? '', /is not a topic name/)
    match(complaints[2] ?? '', /^line 6: .*"payolad"/)
    equal(ran.code, 1)
  })

  test('eval takes one file, or a rule on the spot', async (context) => {
    const input = '{"topic":"rooms/7/climate","payload":{"celsius":31}}\n'
    const outputs = async (...parameters: string[]) => {
      const ran = await command(context, folder, ['eval', ...parameters], { input })
      equal(ran.code, 0, ran.stderr)
      return JSON.parse(ran.stdout) as { output: unknown; outcome: string; rule?: string }
    }
    equal((await outputs('--rule', 'rules/raw.yaml')).outcome, 'no rule')
    equal((await outputs('--select', 'celsius * 2')).output, 62)
    equal((await outputs('--from', 'elsewhere/#')).outcome, 'no rule')
    const direct = '{"topic":"$aws/rules/raw/x","payload":1}\n{"topic":"$aws/rules/gone/x","payload":1}\n'
    const ran = await command(context, folder, ['eval'], { input: direct })
    const [one, other] = ran.stdout.split('\n').map((text) => JSON.parse(text || '{}') as Record<string, unknown>)
    deepEqual([one?.['rule'], one?.['topic'], one?.['outcome']], ['raw', 'x', 'deliveries'])
    deepEqual(other, { line: 2, topic: 'x', rule: 'gone', outcome: 'rule not found' })
    const both = await command(context, folder, ['eval', '--rule', 'rules/raw.yaml', '--where', 'true'], { input })
    deepEqual([both.code, /cannot be used with/.test(both.stderr)], [2, true])
  })

  test('explain shows where the rule stands, its filters and its expressions', async (context) => {
    const ran = await command(context, folder, ['explain', 'hot'])
    equal(ran.code, 0)
    match(ran.stdout, /^hot {2}rules\/hot\.yaml:1:1\nfrom {4}rooms\/\+\/climate\nwhere {3}celsius > 30\n/)
    match(ran.stdout, /payload\.celsius/)
    const json = await command(context, folder, ['explain', 'hot', '--json'])
    deepEqual((JSON.parse(json.stdout) as { topicFilters: unknown }).topicFilters, ['rooms/+/climate'])
  })

  test('a reader that leaves early is no error', async (context) => {
    const input = '{"topic":"raw","payload":1}\n'.repeat(20_000)
    const script = `set -o pipefail; "$0" "$1" eval | head -n 1`
    const ran = await ended(
      run(context, 'bash', ['-c', script, process.execPath, bin], { cwd: folder, env: plainEnvironment(), input }),
    )
    deepEqual([ran.code, ran.stdout.split('\n').length, ran.stderr], [0, 2, ''])
  })
})
