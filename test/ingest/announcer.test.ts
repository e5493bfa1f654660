import { deepEqual, equal } from 'node:assert/strict'
import { test } from 'node:test'
import { createAnnouncer } from '../../src/ingest/announcer.ts'
import { until } from '../support/cleanup.ts'
import { countedMetrics, fakeAccept } from '../support/doors.ts'

function open() {
  const sink = fakeAccept()
  const distributed: string[] = []
  const metrics = countedMetrics()
  const announcer = createAnnouncer({
    accept: sink.accept,
    distribute: ({ topic, payload }) => void distributed.push(`${topic} ${payload.toString('utf8')}`),
    metrics,
  })
  return { sink, distributed, metrics, announcer }
}

test('an event goes to the rules as Sluice’s own, and to subscribers when it is durable', async () => {
  const { sink, distributed, announcer } = open()
  sink.hold()
  announcer.announce('$aws/events/x', { a: 1 })
  await until('it is with accept', () => sink.taken.length === 1)
  deepEqual(distributed, [])
  sink.release()
  await until('it is handed on', () => distributed.length === 1)
  deepEqual(distributed, ['$aws/events/x {"a":1}'])
  deepEqual([sink.taken[0]?.speaker.principal, sink.taken[0]?.publish.qos], [{ name: 'sluice', method: 'sluice' }, 0])
})

test('while the queue is away it waits, and a stop gives it up', async () => {
  const { sink, distributed, announcer, metrics } = open()
  sink.reply = () => ({ kind: 'later', id: 'i', status: 503, afterMs: 20, message: 'away' })
  announcer.announce('$aws/events/x', {})
  await until('it is tried again', () => sink.taken.length > 2)
  sink.reply = () => undefined
  await until('it is handed on', () => distributed.length === 1)
  equal(metrics.total('sluice_events_total', { outcome: 'published' }), 1)

  sink.reply = () => ({ kind: 'later', id: 'i', status: 503, afterMs: 60_000, message: 'away' })
  announcer.announce('$aws/events/y', {})
  await announcer.close(10)
  deepEqual([distributed.length, metrics.total('sluice_events_total', { outcome: 'dropped' })], [1, 1])
})
