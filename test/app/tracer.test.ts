import { deepEqual } from 'node:assert/strict'
import { test } from 'node:test'
import { Tracer } from '../../src/app/tracer.ts'
import type { AnyForwarderDefinition, Forwarder, ForwarderContext, Item } from '../../src/core/forwarder.ts'
import { silent } from '../../src/core/log.ts'
import { delivered } from '../../src/core/outcome.ts'

const definition = {
  kind: 'test',
  open: async () => ({ send: async (batch: readonly Item[]) => batch.map(() => delivered), close: async () => {} }),
} as unknown as AnyForwarderDefinition

const item = (id: string): Item => ({
  id,
  key: `${id}:r:0`,
  payload: Buffer.from('{"a":1}'),
  selected: true,
  topic: 't',
  qos: 1,
  retain: false,
  rule: 'r',
  principal: 'p',
  at: 0,
  with: {},
})
const context: ForwarderContext = { worker: 'w', signal: AbortSignal.timeout(1_000), log: silent }

test('a message that has come out of a worker is found, and one that has not is waited for', async () => {
  const tracer = new Tracer()
  const forwarder = (await tracer.traced('w', definition).open({}, context)) as Forwarder
  const waiting = tracer.find('b', 5_000)
  await forwarder.send([item('a')], context.signal)
  const shape = (found: Awaited<ReturnType<Tracer['find']>>) =>
    found.map(({ id, worker, kind, outcome, preview }) => ({ id, worker, kind, outcome, preview }))
  deepEqual(shape(await tracer.find('a', 0)), [
    { id: 'a', worker: 'w', kind: 'test', outcome: 'delivered', preview: '{"a":1}' },
  ])
  await forwarder.send([item('b')], context.signal)
  deepEqual(shape(await waiting), [{ id: 'b', worker: 'w', kind: 'test', outcome: 'delivered', preview: '{"a":1}' }])
  deepEqual(await tracer.find('c', 0), [])
})

test('what is remembered is bounded', async () => {
  const tracer = new Tracer()
  const forwarder = (await tracer.traced('w', definition).open({}, context)) as Forwarder
  await forwarder.send(
    Array.from({ length: 1_001 }, (_, index) => item(`m${index}`)),
    context.signal,
  )
  deepEqual(await tracer.find('m0', 0), [])
  deepEqual((await tracer.find('m1000', 0)).length, 1)
})

test('what devices send cannot move the cursor of who looks at it, and is cut between characters', async () => {
  const tracer = new Tracer()
  const forwarder = (await tracer.traced('w', definition).open({}, context)) as Forwarder
  await forwarder.send([{ ...item('a'), payload: Buffer.from(`\u001b[2J${'é'.repeat(200)}`) }], context.signal)
  const [trace] = await tracer.find('a', 0)
  deepEqual(trace?.preview, `\uFFFD[2J${'é'.repeat(148)}…`)
})

test('who waits is answered when it is no longer worth waiting', async () => {
  const tracer = new Tracer()
  const enough = new AbortController()
  const found = [tracer.find('a', 60_000, enough.signal), tracer.find('b', 60_000)]
  enough.abort()
  deepEqual(await found[0], [])
  tracer.close()
  deepEqual(await found[1], [])
})
