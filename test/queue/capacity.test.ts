import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type Log, silent } from '../../src/core/log.ts'
import { uncounted } from '../../src/core/metrics.ts'
import type { BacklogPolicy } from '../../src/core/room.ts'
import { Capacity } from '../../src/queue/capacity.ts'
import { keepLines } from '../support/logs.ts'
import { createMemoryQueues } from '../support/memory-queues.ts'

const kilobyte = 'x'.repeat(1_000)

function measured(policy: Partial<BacklogPolicy> = {}, log: Log = silent) {
  const queues = createMemoryQueues()
  queues.hold(40_000)
  const options = { queues, owners: () => ['idle'], log, metrics: uncounted }
  const policyOf = (): BacklogPolicy => ({ max: { share: 0.25 }, whenFull: 'refuse', ...policy })
  const open = () => new Capacity({ ...options, policyOf })
  let id = 0
  const fill = (owner: string, count: number, part: 'work' | 'dead' = 'work') =>
    queues.add(
      { owner, part },
      Array.from({ length: count }, () => ({ id: `job-${(id += 1)}`, data: kilobyte })),
    )
  return { queues, capacity: open(), open, fill }
}

describe('capacity', () => {
  it('is full where work and dead letters together are at the share of an owner, and open again below it', async () => {
    const { queues, capacity, fill } = measured()
    await fill('busy', 6)
    await capacity.measure()
    assert.equal(capacity.complain(['busy']), undefined)
    await fill('busy', 4, 'dead')
    await capacity.measure()
    assert.equal(capacity.complain(['idle', 'busy']), 'the backlog of worker busy is full')
    assert.equal(capacity.complain(['idle', 'other']), undefined)
    assert.equal(capacity.backlogOf('busy')?.full, true)
    await queues.remove({ owner: 'busy', part: 'dead' }, ['job-7', 'job-8'])
    await capacity.measure()
    assert.equal(capacity.complain(['busy']), undefined)
  })

  it('counts what is on its way at once, and forgets it when it is measured', async () => {
    const { capacity, fill } = measured()
    await capacity.measure()
    capacity.adding('idle', 9_999)
    assert.equal(capacity.complain(['idle']), undefined)
    capacity.adding('idle', 1)
    assert.match(capacity.complain(['idle']) ?? '', /worker idle is full/)
    await fill('idle', 3)
    await capacity.measure()
    assert.equal(capacity.complain(['idle']), undefined)
  })

  it('takes into account what another ingest adds', async () => {
    const { capacity, fill } = measured()
    await fill('busy', 1)
    await capacity.measure()
    await fill('busy', 5)
    await capacity.measure()
    capacity.adding('busy', 1)
    assert.match(capacity.complain(['busy']) ?? '', /full/, 'six are there, and five more are to be expected')
  })

  it('takes nothing at all where the store has no room left, whatever each may have', async () => {
    const { queues, capacity } = measured({ whenFull: 'drop-newest' })
    queues.hold(40_000, 1_000)
    await capacity.measure()
    assert.equal(capacity.complain(['idle']), undefined)
    capacity.adding('idle', 1_000)
    assert.equal(capacity.complain(['idle']), 'the queue has no room left')
    queues.hold(40_000, 20_000)
    await capacity.measure()
    assert.equal(capacity.complain(['idle']), undefined)
  })

  it('lets fall what is new only where that was asked for by name', async () => {
    for (const whenFull of ['refuse', 'drop-oldest', 'drop-newest'] as const) {
      const { capacity, fill } = measured({ whenFull })
      await fill('busy', 20)
      await capacity.measure()
      assert.equal(capacity.dropsNewest('busy'), whenFull === 'drop-newest')
      assert.equal(capacity.complain(['busy']) === undefined, whenFull === 'drop-newest')
      assert.equal(capacity.dropsNewest('idle'), false)
    }
  })

  it('a size may stand in place of a share; the log warns from four fifths on, and keeps what it knew while the queue is away', async () => {
    const log = keepLines()
    const { queues, capacity, fill } = measured({ max: { bytes: 5_000 } }, log)
    await fill('rule:hot', 4, 'dead')
    await capacity.measure()
    assert.ok(log.lines.some(({ message }) => message === 'the backlog of rule hot comes near its bound'))
    await fill('rule:hot', 1, 'dead')
    await capacity.measure()
    queues.away = true
    await capacity.measure()
    assert.equal(capacity.complain(['rule:hot']), 'the backlog of rule hot is full')
  })
})
