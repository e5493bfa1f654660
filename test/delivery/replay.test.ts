import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { deduplicationKey, type Entry, type Envelope, type Failure } from '../../src/core/envelope.ts'
import { QueueAwayError, SluiceError } from '../../src/core/errors.ts'
import { createDeadLetterReader } from '../../src/delivery/dead-letters.ts'
import { createDeadLetterOperator, maxHandled, type Rerun } from '../../src/delivery/replay.ts'
import { fillDead } from '../support/dead-letters.ts'
import { createMemoryQueues, type MemoryQueues } from '../support/memory-queues.ts'

const work = { owner: 'w', part: 'work' } as const
const dead = { owner: 'w', part: 'dead' } as const

describe('replay', () => {
  it('puts a letter back to its worker with fresh attempts and age, its history and the same deduplication key', async () => {
    const { queues, operator } = operate({ now: 5_000 })
    const errors = [{ at: 1, reason: 'no' }]
    const [id] = await fillDead(queues, 'w', [{ id: 'm', attempts: 9, errors, at: 10 }])
    assert.ok(id !== undefined)
    const before = queues.all<Failure>(dead)[0]?.data.entry
    assert.deepEqual(await operator.replay({ ids: [id] }), { replayed: 1, kept: 0, missing: 0, more: false })
    assert.deepEqual(queues.all(dead), [])
    const [job] = queues.all<Envelope>(work)
    const [entry] = job?.data.entries ?? []
    assert.deepEqual(entry, { ...before, attempts: 0, since: 5_000 })
    assert.ok(entry !== undefined && before !== undefined)
    assert.equal(deduplicationKey(entry), deduplicationKey(before))
  })

  it('puts back all that a filter takes, in envelopes, and leaves the others', async () => {
    const { queues, operator } = operate()
    const entries = Array.from({ length: 900 }, (_, index) => ({
      id: `m${index}`,
      rule: index % 3 === 0 ? 'cold' : 'hot',
    }))
    await fillDead(queues, 'w', entries)
    assert.deepEqual(await operator.replay({ rule: 'hot' }), { replayed: 600, kept: 0, missing: 0, more: false })
    assert.equal(queues.all(dead).length, 300)
    const back = queues.all<Envelope>(work)
    assert.equal(new Set(back.flatMap(({ data }) => data.entries.map(({ id }) => id))).size, 600)
    assert.ok(back.length < 10)
    assert.ok(back.every(({ data }) => data.entries.length <= 256))
  })

  it('keeps envelopes under their size', async () => {
    const { queues, operator } = operate()
    await fillDead(
      queues,
      'w',
      Array.from({ length: 12 }, (_, index) => ({ id: `m${index}`, in: 'x'.repeat(131_072) })),
    )
    await operator.replay({})
    const sizes = queues.all<Envelope>(work).map(({ data }) => JSON.stringify(data).length)
    assert.equal(sizes.length, 2)
    for (const size of sizes) assert.ok(size <= 1_100_000, `${size}`)
  })

  it('adds before it removes: what the queue does not take stays', async () => {
    const queues = createMemoryQueues()
    const add = queues.add.bind(queues)
    queues.add = (queue, jobs) =>
      queue.part === 'work' ? Promise.reject(new SluiceError('QUEUE_AWAY')) : add(queue, jobs)
    const { operator } = operate({ queues })
    await fillDead(queues, 'w', [{ id: 'm' }])
    await assert.rejects(operator.replay({}), { code: 'QUEUE_AWAY' })
    assert.equal(queues.all(dead).length, 1)
  })

  it('delivers a letter once when two replay it at the same time', async () => {
    const { queues, operator } = operate()
    const ids = await fillDead(queues, 'w', [{ id: 'm' }])
    await Promise.all([operator.replay({ ids }), operator.replay({ ids })])
    assert.equal(queues.all(work).length, 1)
    assert.equal(queues.all(dead).length, 0)
  })

  it('does not take again what fails anew while it runs', async () => {
    const queues = createMemoryQueues()
    const add = queues.add.bind(queues)
    const { operator } = operate({ queues, now: 100 })
    await fillDead(queues, 'w', [{ id: 'm', at: 10 }])
    queues.add = async (queue, jobs) => {
      await add(queue, jobs)
      // It fails at once: a letter with a later time.
      if (queue.part === 'work') await fillDead(queues, 'w', [{ id: 'm', at: 100, since: 100 }])
    }
    assert.equal((await operator.replay({})).replayed, 1)
    assert.equal(queues.all(dead).length, 1)
  })

  it('keeps the letters of a worker that no file owns', async () => {
    const { queues, operator } = operate()
    await fillDead(queues, 'orphan', [{ id: 'm' }])
    assert.deepEqual(await operator.replay({ owner: 'orphan' }), { replayed: 0, kept: 1, missing: 0, more: false })
    assert.equal(queues.all({ owner: 'orphan', part: 'dead' }).length, 1)
    assert.equal(queues.all({ owner: 'orphan', part: 'work' }).length, 0)
  })

  it('runs the letters of a rule through the rule as it is now, and keeps those on which it fails again', async () => {
    const seen: [string, Entry][] = []
    const rerun: Rerun = async (owner, entry) => {
      seen.push([owner, entry])
      return entry.id === 'bad' ? 'failed' : 'routed'
    }
    const { queues, operator } = operate({ rerun })
    await fillDead(queues, 'rule:hot', [
      { id: 'good', rule: 'hot', in: { base64: '/wA=' } },
      { id: 'bad', rule: 'hot' },
    ])
    assert.deepEqual(await operator.replay({ owner: 'rule:hot' }), { replayed: 1, kept: 1, missing: 0, more: false })
    assert.deepEqual(
      seen.map(([owner, { id, rule }]) => [owner, id, rule]),
      [
        ['rule:hot', 'good', 'hot'],
        ['rule:hot', 'bad', 'hot'],
      ],
    )
    const left = queues.all<Failure>({ owner: 'rule:hot', part: 'dead' })
    assert.deepEqual(
      left.map(({ data }) => data.entry.id),
      ['bad'],
    )
  })

  it('hands in again what a bridge refused, and lets go of what went in before the queue went away', async () => {
    const rerun: Rerun = async (owner, { id }) => {
      if (id === 'late') throw new QueueAwayError('away', false)
      return owner === 'bridge:plant' && id === 'good' ? 'routed' : 'failed'
    }
    const { queues, operator } = operate({ rerun })
    await fillDead(queues, 'bridge:plant', [{ id: 'good' }, { id: 'bad' }, { id: 'late' }])
    await assert.rejects(operator.replay({ owner: 'bridge:plant' }), /away/)
    const left = () => queues.all<Failure>({ owner: 'bridge:plant', part: 'dead' }).map(({ data }) => data.entry.id)
    assert.deepEqual(left(), ['bad', 'late'])
  })

  it('counts ids that are not there', async () => {
    const { operator } = operate()
    assert.deepEqual(await operator.replay({ ids: ['d1', 'd2', 'd1'] }), {
      replayed: 0,
      kept: 0,
      missing: 2,
      more: false,
    })
  })

  it('handles a bounded number in one call, and says that there is more', async () => {
    const { queues, operator } = operate()
    await fillDead(
      queues,
      'w',
      Array.from({ length: maxHandled + 10 }, (_, index) => ({ id: `m${index}` })),
    )
    const { next, ...first } = await operator.purge({})
    assert.deepEqual(first, { purged: maxHandled, missing: 0, more: true })
    assert.ok(next !== undefined)
    assert.deepEqual(await operator.purge({}, { from: next, limit: 4 }), {
      purged: 4,
      missing: 0,
      more: true,
      next: '6//w',
    })
    assert.deepEqual(await operator.purge({}), { purged: 6, missing: 0, more: false })
  })
})

describe('replay in stretches', () => {
  it('goes on behind those that stay, however many, and handles each once', async () => {
    const seen: string[] = []
    const rerun: Rerun = async (_owner, { id }) => {
      seen.push(id)
      return Number(id) % 2 === 0 ? 'failed' : 'routed'
    }
    const { queues, operator } = operate({ rerun })
    const ids = Array.from({ length: 50 }, (_, index) => `${index}`)
    for (const rule of ['a', 'b'])
      await fillDead(
        queues,
        `rule:${rule}`,
        ids.map((id) => ({ id, rule })),
      )
    const total = { replayed: 0, kept: 0 }
    let next: string | undefined
    do {
      const { replayed, kept, ...rest } = await operator.replay(
        {},
        { limit: 7, ...(next !== undefined && { from: next }) },
      )
      total.replayed += replayed
      total.kept += kept
      next = rest.next
    } while (next !== undefined)
    assert.deepEqual(total, { replayed: 50, kept: 50 })
    assert.deepEqual(seen, [...ids, ...ids])
  })

  it('takes letters that a worker whose clock is ahead gave up', async () => {
    const { queues, operator } = operate({ now: 1_000 })
    await fillDead(queues, 'w', [{ id: 'm', at: 60_000 }])
    assert.equal((await operator.replay({})).replayed, 1)
  })
})

describe('purge', () => {
  it('throws away what was selected and nothing else', async () => {
    const { queues, operator } = operate()
    const [id] = await fillDead(queues, 'w', [{ id: 'a' }, { id: 'b', kind: 'expired' }, { id: 'c' }])
    assert.deepEqual(await operator.purge({ kind: 'expired' }), { purged: 1, missing: 0, more: false })
    assert.deepEqual(await operator.purge({ ids: [id ?? '', 'nope'] }), { purged: 1, missing: 1, more: false })
    assert.deepEqual(
      queues.all<Failure>(dead).map(({ data }) => data.entry.id),
      ['c'],
    )
    assert.equal(queues.all(work).length, 0)
  })
})

function operate(parts: { readonly queues?: MemoryQueues; readonly rerun?: Rerun; readonly now?: number } = {}) {
  const queues = parts.queues ?? createMemoryQueues()
  const operator = createDeadLetterOperator({
    queues,
    reader: createDeadLetterReader(queues),
    workers: () => ['w'],
    rerun: parts.rerun ?? (async () => 'gone'),
    now: () => parts.now ?? 100_000,
  })
  return { queues, operator }
}
