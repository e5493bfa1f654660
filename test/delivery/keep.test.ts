import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Failure } from '../../src/core/envelope.ts'
import { silent } from '../../src/core/log.ts'
import type { BacklogPolicy, OnDropped } from '../../src/core/room.ts'
import { startKeeping } from '../../src/delivery/keep.ts'
import { startTrimming } from '../../src/delivery/trim.ts'
import { until } from '../support/cleanup.ts'
import { fillDead } from '../support/dead-letters.ts'
import { entryOf } from '../support/delivery.ts'
import { createMemoryQueues } from '../support/memory-queues.ts'

type Dropped = Parameters<OnDropped>[0]

function dropping() {
  const dropped: Dropped[] = []
  const onDropped: OnDropped = (one) => void dropped.push(one)
  const counted = (owner: string, reason: string) =>
    dropped
      .filter((one) => one.owner === owner && one.reason === reason)
      .reduce((sum, { entries }) => sum + entries.length, 0)
  return { dropped, onDropped, counted }
}

describe('keeping dead letters', () => {
  const letters = (count: number) => Array.from({ length: count }, (_, index) => ({ id: `m${index}`, at: index }))

  it('lets fall, oldest first, what is beyond age, number and bytes, and counts it; of others nothing', async (t) => {
    const queues = createMemoryQueues()
    for (const owner of ['aged', 'many', 'large', 'free']) await fillDead(queues, owner, letters(600))
    const mean = ((await queues.sizes(['large'])).get('large')?.deadBytes ?? 0) / 600
    const keeps: Record<string, BacklogPolicy['keep']> = {
      aged: { age: 1_000 },
      many: { messages: 20 },
      large: { bytes: Math.round(mean * 100) },
    }
    const { dropped, onDropped, counted } = dropping()
    const policyOf = (owner: string): BacklogPolicy => {
      const keep = keeps[owner]
      return { max: { share: 0.25 }, whenFull: 'refuse', ...(keep !== undefined && { keep }) }
    }
    t.after(startKeeping({ queues, policyOf, overBy: () => 1e9, onDropped, log: silent, everyMs: 5, now: () => 1_299 }))
    const left = (owner: string) => queues.all<Failure>({ owner, part: 'dead' }).map(({ data }) => data.at)
    await until('all are swept', () => left('large').length <= 101 && left('many').length === 20)
    assert.deepEqual(
      left('aged'),
      Array.from({ length: 300 }, (_, index) => index + 300),
    )
    assert.deepEqual(left('many').slice(0, 2), [580, 581])
    assert.ok(left('large').length >= 98 && left('large').at(-1) === 599, `${left('large').length}`)
    assert.equal(left('free').length, 600)
    assert.deepEqual([counted('aged', 'kept-age'), counted('many', 'kept-messages')], [300, 580])
    assert.equal(counted('large', 'kept-bytes'), 600 - left('large').length)
    assert.deepEqual(dropped[0]?.entries[0], { rule: 'r', action: 0 })
  })

  it('of several ingests lets fall no more than one would', async (t) => {
    const memory = createMemoryQueues()
    const queues: typeof memory = { ...memory, page: async (...asked) => (await sleep(1), memory.page(...asked)) }
    await fillDead(queues, 'w', letters(2_000))
    const { onDropped, counted } = dropping()
    const policyOf = (): BacklogPolicy => ({ max: { share: 0.25 }, whenFull: 'refuse', keep: { messages: 100 } })
    for (let ingest = 0; ingest < 2; ingest += 1)
      t.after(startKeeping({ queues, policyOf, overBy: () => 0, onDropped, log: silent, everyMs: 5 }))
    await until('they have swept', () => counted('w', 'kept-messages') >= 1_900)
    await sleep(50)
    assert.equal(queues.all({ owner: 'w', part: 'dead' }).length, 100)
    assert.equal(counted('w', 'kept-messages'), 1_900)
  })

  it('an owner at its bound loses its oldest where it says so', async (t) => {
    const queues = createMemoryQueues()
    await fillDead(queues, 'w', letters(100))
    const whole = (await queues.sizes(['w'])).get('w')?.bytes ?? 0
    const { onDropped, counted } = dropping()
    const policyOf = (): BacklogPolicy => ({ max: { bytes: whole }, whenFull: 'drop-oldest' })
    const overBy = () => Math.max(0, (counted('w', 'full') === 0 ? whole : 0) - whole * 0.9)
    t.after(startKeeping({ queues, policyOf, overBy, onDropped, log: silent, everyMs: 5 }))
    await until('a tenth is gone', () => counted('w', 'full') > 0)
    assert.ok(Math.abs(counted('w', 'full') - 10) <= 1)
    assert.equal(queues.all<Failure>({ owner: 'w', part: 'dead' })[0]?.data.at, counted('w', 'full'))
  })
})

describe('a worker that drops its oldest', () => {
  it('takes out envelopes until there is room, counts their messages, and leaves everything without being told so', async (t) => {
    const queues = createMemoryQueues()
    const queue = { owner: 'w', part: 'work' } as const
    for (let index = 0; index < 50; index += 1) {
      const entries = [entryOf({ id: `m${index}` }), entryOf({ id: `n${index}` })]
      await queues.add(queue, [{ id: `job-${index}`, data: { v: 1, set: 's', entries } }])
    }
    const whole = (await queues.sizes(['w'])).get('w')?.bytes ?? 0
    const { onDropped, counted } = dropping()
    const start = (whenFull: BacklogPolicy['whenFull']) =>
      startTrimming({
        worker: 'w',
        policy: { max: { bytes: whole / 2 }, whenFull },
        queues,
        onDropped,
        log: silent,
        everyMs: 5,
      })
    t.after(start('refuse'))
    await new Promise((resolve) => setTimeout(resolve, 30))
    assert.equal(queues.all(queue).length, 50)
    t.after(start('drop-oldest'))
    await until('half is gone', () => queues.all(queue).length <= 23)
    assert.equal(queues.all(queue).at(-1)?.id, 'job-49')
    assert.equal(counted('w', 'full'), 2 * (50 - queues.all(queue).length))
  })

  it('of several processes lets fall about as much as one would', async (t) => {
    const memory = createMemoryQueues()
    const queues: typeof memory = { ...memory, page: async (...asked) => (await sleep(1), memory.page(...asked)) }
    const queue = { owner: 'w', part: 'work' } as const
    for (let index = 0; index < 400; index += 1)
      await queues.add(queue, [
        { id: `job-${index}`, data: { v: 1, set: 's', entries: [entryOf({ id: `m${index}` })] } },
      ])
    const whole = (await queues.sizes(['w'])).get('w')?.bytes ?? 0
    const { onDropped } = dropping()
    const policy: BacklogPolicy = { max: { bytes: whole / 2 }, whenFull: 'drop-oldest' }
    for (let process = 0; process < 2; process += 1)
      t.after(startTrimming({ worker: 'w', policy, queues, onDropped, log: silent, everyMs: 5 }))
    await until('half is gone', () => queues.all(queue).length <= 180)
    await sleep(50)
    assert.ok(queues.all(queue).length > 140, `${queues.all(queue).length}`)
  })
})
