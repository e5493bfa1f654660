import { deepEqual, equal, match, ok } from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import { freePort, temporaryFolder, until } from '../support/cleanup.ts'
import { suiteScope } from '../support/command.ts'
import { startTestSqs, type TestQueue, testKeys } from '../support/queues-of-sqs.ts'
import { allowEverything, post, principalEntry, ready, sluice, writeFiles } from '../support/sluice.ts'

// What a publisher may count on at the doors of a running Sluice.
describe('what a publisher chooses', { timeout: 90_000 }, () => {
  const scope = suiteScope()
  let http: number
  let queue: TestQueue

  before(async () => {
    const folder = await temporaryFolder(scope)
    http = await freePort()
    queue = (await startTestSqs(scope)).queue('orders.fifo', { DeduplicationScope: 'queue' })
    const config = await writeFiles(folder, {
      'sluice.yaml': { listen: { http: { port: http } } },
      'identity/devices.yaml': {
        principals: ['a', 'b'].map((name) => principalEntry(name, `token-${name}`, { policies: ['all'] })),
        policies: { all: allowEverything },
      },
      'rules/orders.yaml': 'from: orders/#\nto: [{ worker: orders, with: { messageGroupId: all } }]\n',
      'workers/orders.yaml': {
        kind: 'sqs',
        queueUrl: queue.queueUrl,
        region: 'us-east-1',
        credential: { type: 'aws-keys', ...testKeys },
      },
    })
    const running = sluice(scope, config, ['start'])
    await ready(running)
  })

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
})
