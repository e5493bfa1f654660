import { deepEqual, ok, throws } from 'node:assert/strict'
import { test } from 'node:test'
import { Lifecycle, Stopping } from '../../src/app/lifecycle.ts'
import { silent } from '../../src/core/log.ts'

test('parts stop in reverse, once, and a failing one does not keep the others', async () => {
  const stopped: string[] = []
  const lifecycle = new Lifecycle(silent)
  lifecycle.add('queue', () => void stopped.push('queue'))
  lifecycle.add('broken', () => Promise.reject(new Error('no')))
  lifecycle.add('door', async () => void stopped.push('door'))
  await Promise.all([lifecycle.stop(1_000), lifecycle.stop(1_000)])
  deepEqual(stopped, ['door', 'queue'])
})

test('what is left is shared by weight, and one that never stops does not take what the others need', async () => {
  const told: [string, number][] = []
  const lifecycle = new Lifecycle(silent)
  lifecycle.add('queue', (ms) => void told.push(['queue', ms]))
  lifecycle.add('workers', (ms) => void told.push(['workers', ms]), 4)
  lifecycle.add('door', (ms) => (told.push(['door', ms]), new Promise<void>(() => {})), 5)
  await lifecycle.stop(200)
  deepEqual(
    told.map(([name]) => name),
    ['door', 'workers', 'queue'],
  )
  const [door = 0, workers = 0, queue = 0] = told.map(([, ms]) => ms)
  // Half of what was left, and of that what it is told; the clocks of timers and of the deadline may differ by a little.
  ok(door > 0 && door <= 80, `${door}`)
  ok(workers > 0 && workers < 80 && queue > 0 && queue < 100, `${workers}, ${queue}`)
})

test('what starts while all stops is stopped too, and its start ends', async () => {
  const stopped: string[] = []
  const lifecycle = new Lifecycle(silent)
  const stopping = lifecycle.stop(1_000)
  throws(() => lifecycle.add('late', () => void stopped.push('late')), Stopping)
  await Promise.all([stopping, lifecycle.stop(0)])
  deepEqual(stopped, ['late'])
})
