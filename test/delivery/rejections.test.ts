import assert from 'node:assert/strict'
import { it, type TestContext } from 'node:test'
import type { Credential } from '../../src/core/credential.ts'
import type { Envelope, FailureBatch } from '../../src/core/envelope.ts'
import type { AnyForwarderDefinition } from '../../src/core/forwarder.ts'
import { silent } from '../../src/core/log.ts'
import { Redactor } from '../../src/core/redactor.ts'
import { createWorkerRunner } from '../../src/delivery/worker-runner.ts'
import { http } from '../../src/forwarders/http.ts'
import { sqs } from '../../src/forwarders/sqs.ts'
import { until } from '../support/cleanup.ts'
import { countingMetrics, entryOf, quick, workerOf } from '../support/delivery.ts'
import { type Answer, type Received, startHttpTarget } from '../support/http-target.ts'
import { createMemoryQueues } from '../support/memory-queues.ts'

const work = { owner: 'w', part: 'work' } as const

it('2,000 messages that are rejected one by one are 2,000 requests', async (t) => {
  const { requests, given } = await deliver(t, http, 2_000, () => ({ status: 422 }))
  assert.equal(given.length, 2_000)
  assert.equal(requests.length, 2_000)
})

it('what shares a request with bad messages is taken once, and each bad one ends alone', async (t) => {
  const bad = new Set(['m17', 'm18', 'm200'])
  const taken: string[] = []
  const settings = { batch: 'json-array' }
  const { requests, given } = await deliver(
    t,
    http,
    400,
    ({ body }) => {
      const names = JSON.parse(body.toString()) as string[]
      if (names.some((name) => bad.has(name))) return { status: 422 }
      taken.push(...names)
      return { status: 200 }
    },
    settings,
  )
  assert.deepEqual(new Set(given), bad)
  assert.equal(taken.length, 397)
  assert.equal(new Set(taken).size, 397, 'each once')
  assert.ok(requests.length <= 2 + bad.size * 2 * 8, `${requests.length} requests`)
})

it('entries that SQS refuses one by one are not sent again', async (t) => {
  const credential: Credential = {
    use: 'aws',
    keys: async () => ({ accessKeyId: 'AKIAEXAMPLE', secretAccessKey: 'not a secret' }),
  }
  const { requests, given } = await deliver(
    t,
    sqs,
    100,
    ({ body }) => {
      const { Entries } = JSON.parse(body.toString()) as { readonly Entries: readonly { readonly Id: string }[] }
      const Failed = Entries.map(({ Id }) => ({ Id, Code: 'InvalidMessageContents', SenderFault: true, Message: 'no' }))
      return {
        status: 200,
        headers: { 'content-type': 'application/x-amz-json-1.0' },
        body: JSON.stringify({ Successful: [], Failed }),
      }
    },
    {},
    credential,
  )
  assert.equal(given.length, 100)
  assert.equal(requests.length, 10)
})

/** Delivers `count` messages, each with its name as payload, to a far side until none is left; gives what was given up. */
async function deliver(
  t: TestContext,
  forwarder: AnyForwarderDefinition,
  count: number,
  answer: (request: Received) => Answer,
  settings: object = {},
  credential?: Credential,
) {
  const target = await startHttpTarget(t)
  target.answer = answer
  const where = forwarder.kind === 'sqs' ? { queueUrl: `${target.url}/1/q`, region: 'us-east-1' } : { url: target.url }
  const queues = createMemoryQueues()
  const entries = Array.from({ length: count }, (_, index) => entryOf({ id: `m${index}`, in: `"m${index}"` }))
  for (let start = 0; start < count; start += 256) {
    const data: Envelope = { v: 1, set: 's', entries: entries.slice(start, start + 256) }
    await queues.add(work, [{ id: `j${start}`, data }])
  }
  const runner = createWorkerRunner({
    worker: workerOf({ delivery: quick, settings: forwarder.settings.parse({ ...where, ...settings }) }),
    forwarder,
    queues,
    openCredential: async () => credential,
    redactor: new Redactor(),
    log: silent,
    metrics: countingMetrics(),
  })
  runner.start()
  t.after(async () => {
    await queues.close()
    await runner.close(1_000)
  })
  await until('the queue is empty', () => queues.all(work).length === 0, 30_000)
  const failures = queues.all<FailureBatch>({ owner: 'w', part: 'failures' }).flatMap(({ data }) => data.failures)
  for (const { kind } of failures) assert.equal(kind, 'rejected')
  return { requests: target.received, given: failures.map(({ entry }) => entry.id) }
}
