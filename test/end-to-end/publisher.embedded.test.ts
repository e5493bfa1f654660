import { deepEqual, equal, match, ok } from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { callControl } from '../../src/admin/client.ts'
import { freePort, temporaryFolder, until } from '../support/cleanup.ts'
import { suiteScope } from '../support/command.ts'
import { mqttClient } from '../support/mqtt.ts'
import type { Running } from '../support/process.ts'
import { startTestSqs, type TestQueue, testKeys } from '../support/queues-of-sqs.ts'
import { allowEverything, logLines, post, principalEntry, ready, sluice, writeFiles } from '../support/sluice.ts'

// What a publisher may count on at the doors of a running Sluice.
describe('what a publisher chooses', { timeout: 90_000 }, () => {
  const scope = suiteScope()
  let folder: string
  let http: number
  let mqtt: number
  let running: Running
  let queue: TestQueue

  before(async () => {
    folder = await temporaryFolder(scope)
    http = await freePort()
    mqtt = await freePort()
    queue = (await startTestSqs(scope)).queue('orders.fifo', { DeduplicationScope: 'queue' })
    const config = await writeFiles(folder, {
      'sluice.yaml': { listen: { http: { port: http }, mqtt: { port: mqtt } }, unmatched: ['rest'] },
      'identity/devices.yaml': {
        principals: ['a', 'b', 'shipper'].map((name) => principalEntry(name, `token-${name}`, { policies: ['all'] })),
        policies: { all: allowEverything },
      },
      'rules/orders.yaml': 'from: orders/#\nto: [{ worker: orders, with: { messageGroupId: all } }]\n',
      'rules/num.yaml': `from: num/+\nselect: '{ "topic": $topic(), "first": $topic(1), "n": n }'\nto: [{ worker: num }]\n`,
      'rules/burst.yaml': `from: burst/#\nto: [{ worker: burst }]\n`,
      'workers/num.yaml': { kind: 'file', path: '../out/num' },
      'workers/rest.yaml': { kind: 'file', path: '../out/rest' },
      'workers/burst.yaml': { kind: 'file', path: '../out/burst' },
      'workers/orders.yaml': {
        kind: 'sqs',
        queueUrl: queue.queueUrl,
        region: 'us-east-1',
        credential: { type: 'aws-keys', ...testKeys },
      },
    })
    running = sluice(scope, config, ['start'])
    await ready(running)
  })

  async function lines(worker: string): Promise<readonly string[]> {
    const text = await readFile(join(folder, 'out', worker), 'utf8').catch(() => '')
    return text.split('\n').filter((line) => line !== '')
  }

  test('two devices that use the same ids for a FIFO queue are both heard, and one that repeats itself is heard once', async () => {
    const publish = (device: string, id: string) =>
      post(http, `token-${device}`, 'orders/new', JSON.stringify({ device, id }), { 'idempotency-key': id })
    const answers = []
    for (const [device, id] of ['a1', 'b1', 'a2', 'a1', 'b1', 'b2'].map((text) => text.split('')))
      answers.push(await publish(device ?? '', id ?? ''))
    ok(answers.every(({ status }) => status === 200))
    // Each message is one of its own for whoever follows it, however its publisher calls it.
    equal(new Set(answers.map(({ body }) => body.traceId)).size, answers.length)
    const taken = await queue.take(4)
    equal(taken.length, 4)
    deepEqual(
      new Set(taken.map(({ Body }) => Body)),
      new Set([
        '{"device":"a","id":"1"}',
        '{"device":"a","id":"2"}',
        '{"device":"b","id":"1"}',
        '{"device":"b","id":"2"}',
      ]),
    )
    await until('nothing more', () => queue.size() === 0)
    match(taken[0]?.Attributes?.MessageDeduplicationId ?? '', /^a\/1:orders:0$/)
  })

  test('a message to a rule by name (Basic Ingest) is for that rule, and for no subscriber', async () => {
    const heard: string[] = []
    const client = await mqttClient(scope, `mqtt://127.0.0.1:${mqtt}`, {
      protocolVersion: 4,
      clientId: 'a',
      username: 'a',
      password: 'token-a',
    })
    client.on('message', (topic) => void (topic.startsWith('$aws/events/') || heard.push(topic)))
    await client.subscribeAsync(['$aws/#', '#'], { qos: 1 })
    equal((await post(http, 'token-a', '$aws/rules/num/num/a', '{"n":1}')).status, 200)
    await client.publishAsync('$aws/rules/num/one/two/3/4/5/6/7/8', '{"n":2}', { qos: 1 })
    await client.publishAsync('num/b', '{"n":3}', { qos: 1 })
    await until('the three have come', async () => (await lines('num')).length === 3)
    deepEqual((await lines('num')).toSorted(), [
      '{"topic":"num/a","first":"num","n":1}',
      '{"topic":"num/b","first":"num","n":3}',
      '{"topic":"one/two/3/4/5/6/7/8","first":"one","n":2}',
    ])
    await until('the subscriber has heard', () => heard.length > 0)
    deepEqual(heard, ['num/b'])
  })

  test('a message to a rule that there is not, and one that nothing answers, are refused and said', async () => {
    const { status, body } = await post(http, 'token-a', '$aws/rules/gone/x', '{}')
    deepEqual([status, body.message], [404, 'there is no rule of the name that the topic gives'])
    equal((await post(http, 'token-a', '$aws/events/x', '{}')).status, 403)
    const client = await mqttClient(scope, `mqtt://127.0.0.1:${mqtt}`, {
      protocolVersion: 4,
      clientId: 'b',
      username: 'b',
      password: 'token-b',
    })
    const closed = new Promise<void>((resolve) => client.once('close', () => resolve()))
    client.publish('$aws/rules/gone/x', '{}', { qos: 1 })
    await closed
    const said = logLines(running).filter(({ msg }) => String(msg).startsWith('RuleNotFound'))
    deepEqual(
      said.map(({ level, rule, topic }) => [level, rule, topic]),
      [
        ['error', 'gone', 'x'],
        ['error', 'gone', 'x'],
      ],
    )
  })

  test('a batch over the rate comes in whole and once, for a client that looks at nothing but the status', async () => {
    const send = (from: number) =>
      fetch(`http://127.0.0.1:${http}/messages`, {
        method: 'POST',
        headers: { authorization: 'Bearer token-shipper', 'content-type': 'application/x-ndjson' },
        body: Array.from({ length: 400 }, (_, n) => `{"topic":"burst/b","payload":{"c":${from + n}},"qos":1}`).join(
          '\n',
        ),
      })
    const statuses: number[] = []
    for (const from of [0, 400]) {
      for (;;) {
        const response = await send(from)
        statuses.push(response.status)
        if (response.status === 200) break
        equal(response.status, 429)
        await sleep(Number(response.headers.get('retry-after')) * 1000)
      }
    }
    // What it was told to wait was enough.
    deepEqual(statuses, [200, 429, 200])
    await until('all have come', async () => (await lines('burst')).length >= 800)
    deepEqual(new Set(await lines('burst')).size, 800)
    equal((await lines('burst')).length, 800)
  })

  test('what no rule takes goes to the workers that are for it, and an emptied rules folder leaves the rules in force', async () => {
    const metric = async (name: string) => {
      const page = String((await callControl(join(folder, 'data/control.sock'), 'GET', '/metrics')).body)
      return Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(page)?.[1])
    }
    const before = await metric('sluice_messages_unmatched_total')
    equal((await post(http, 'token-a', 'nobody/asked', '{"n":4}')).status, 200)
    await until('it has come', async () => (await lines('rest')).length > 0)
    deepEqual(await lines('rest'), ['{"n":4}'])
    equal(await metric('sluice_messages_unmatched_total'), before + 1)
    equal(await metric('sluice_rules'), 3)
    await writeFile(join(folder, 'rules/num.yaml'), '')
    await until('it is said', () => running.output().includes('rules/num.yaml:1:1: the file is empty'))
    equal(await metric('sluice_rules'), 3)
    equal((await post(http, 'token-a', 'num/c', '{"n":5}')).status, 200)
    await until('the rule goes on', async () => (await lines('num')).some((line) => line.includes('"n":5')))
  })
})
