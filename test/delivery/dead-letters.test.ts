import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { createDeadLetterReader, type DeadLetterFilter } from '../../src/delivery/dead-letters.ts'
import { fillDead } from '../support/dead-letters.ts'
import { createMemoryQueues } from '../support/memory-queues.ts'

describe('dead letter reader', () => {
  it('lists owner by owner, oldest first', async () => {
    const queues = createMemoryQueues()
    await fillDead(queues, 'b', [{ id: 'b1' }, { id: 'b2' }])
    await fillDead(queues, 'a', [{ id: 'a1' }, { id: 'a2' }])
    const reader = createDeadLetterReader(queues)
    assert.deepEqual(
      (await reader.list({})).letters.map((one) => one.traceId),
      ['a1', 'a2', 'b1', 'b2'],
    )
  })

  it('lists what a filter takes', async () => {
    const queues = createMemoryQueues()
    await fillDead(queues, 'a', [
      { id: '1', rule: 'hot', kind: 'rejected', at: 10 },
      { id: '2', rule: 'cold', kind: 'rejected', at: 20 },
      { id: '3', rule: 'hot', kind: 'expired', at: 30 },
    ])
    await fillDead(queues, 'rule:hot', [{ id: '4', rule: 'hot', kind: 'evaluation', at: 40 }])
    const reader = createDeadLetterReader(queues)
    const ids = async (filter: DeadLetterFilter) => (await reader.list(filter)).letters.map((one) => one.traceId)
    assert.deepEqual(await ids({ rule: 'hot' }), ['1', '3', '4'])
    assert.deepEqual(await ids({ kind: 'rejected' }), ['1', '2'])
    assert.deepEqual(await ids({ owner: 'rule:hot' }), ['4'])
    assert.deepEqual(await ids({ owner: 'nobody' }), [])
    assert.deepEqual(await ids({ before: 30 }), ['1', '2'])
  })

  it('pages through many, each once', async () => {
    const queues = createMemoryQueues()
    const all = Array.from({ length: 1_050 }, (_, index) => `m${index}`)
    await fillDead(
      queues,
      'a',
      all.slice(0, 700).map((id) => ({ id })),
    )
    await fillDead(
      queues,
      'b',
      all.slice(700).map((id) => ({ id })),
    )
    const reader = createDeadLetterReader(queues)
    const seen: string[] = []
    let from: string | undefined
    do {
      const list = await reader.list({}, { limit: 300, ...(from !== undefined && { from }) })
      assert.ok(list.letters.length <= 300)
      seen.push(...list.letters.map((one) => one.traceId))
      from = list.next
    } while (from !== undefined)
    assert.deepEqual(seen, all)
  })

  it('looks at a bounded number for one list, and says where to go on', async () => {
    const queues = createMemoryQueues()
    await fillDead(
      queues,
      'a',
      Array.from({ length: 5_200 }, (_, index) => ({ id: `m${index}`, rule: index === 5_199 ? 'rare' : 'r' })),
    )
    const reader = createDeadLetterReader(queues)
    const first = await reader.list({ rule: 'rare' })
    assert.deepEqual(first.letters, [])
    assert.ok(first.next !== undefined)
    const second = await reader.list({ rule: 'rare' }, { from: first.next })
    assert.deepEqual(
      second.letters.map((one) => one.traceId),
      ['m5199'],
    )
    assert.equal(second.next, undefined)
  })

  it('begins at the beginning on a cursor that is none', async () => {
    const queues = createMemoryQueues()
    await fillDead(queues, 'a', [{ id: 'm' }])
    const reader = createDeadLetterReader(queues)
    for (const from of ['', 'x', '../a', '-1/a', '1e9/a']) {
      assert.equal((await reader.list({}, { from })).letters.length, 1, from)
    }
  })

  it('shows everything of one: original bytes, what would have gone out, every error', async () => {
    const queues = createMemoryQueues()
    const errors = [
      { at: 1, reason: 'first' },
      { at: 2, reason: 'last' },
    ]
    const entry = { id: 'm', in: { base64: '/wA=' }, out: '{"n":1}', errors, attempts: 2, with: { group: 'g' } }
    const [id] = await fillDead(queues, 'a', [entry])
    const letter = await createDeadLetterReader(queues).show(id ?? '')
    assert.deepEqual(letter?.original, { base64: '/wA=' })
    assert.deepEqual(letter?.output, { text: '{"n":1}' })
    assert.deepEqual(letter?.errors, errors)
    assert.deepEqual(letter?.with, { group: 'g' })
    assert.equal(letter?.bytes, 2)
    assert.equal(letter?.owner, 'a')
    assert.equal(await createDeadLetterReader(queues).show('d0000000000000000'), undefined)
  })

  it('is not stopped by something in the queue that is no dead letter', async () => {
    const queues = createMemoryQueues()
    await queues.add({ owner: 'a', part: 'dead' }, [{ id: 'x', data: { v: 1 } }])
    await fillDead(queues, 'a', [{ id: 'm' }])
    assert.equal((await createDeadLetterReader(queues).list({})).letters.length, 1)
    assert.equal(await createDeadLetterReader(queues).show('x'), undefined)
  })
})
