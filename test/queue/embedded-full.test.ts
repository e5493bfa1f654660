import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { rmSync, statfsSync, writeFileSync } from 'node:fs'
import { mkdtemp, rmdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { silent } from '../../src/core/log.ts'
import { uncounted } from '../../src/core/metrics.ts'
import { Capacity } from '../../src/queue/capacity.ts'
import { type EmbeddedQueues, openEmbeddedQueues } from '../../src/queue/embedded.ts'
import { until } from '../support/cleanup.ts'

const mayMount = process.getuid?.() === 0 && process.platform === 'linux'
const queue = { owner: 'w', part: 'work' } as const

describe('an embedded queue on a small disk', { skip: !mayMount }, () => {
  let disk: string
  let queues: EmbeddedQueues

  before(async () => {
    disk = await mkdtemp(join(tmpdir(), 'sluice-test-'))
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=120m', 'tmpfs', disk])
    queues = await openEmbeddedQueues({ folder: join(disk, 'queue'), log: silent })
  })
  after(async () => {
    await queues.close()
    execFileSync('umount', ['-l', disk])
    await rmdir(disk)
  })

  it('takes nothing before its disk is full, so that what lies in it is worked off, and takes again then', async () => {
    const policyOf = () => ({ max: { share: 1 }, whenFull: 'refuse' }) as const
    const capacity = new Capacity({ queues, owners: () => ['w'], policyOf, log: silent, metrics: uncounted })
    let added = 0
    await capacity.measure()
    while (capacity.complain(['w']) === undefined) {
      const data = randomBytes(375_000).toString('base64')
      capacity.adding('w', data.length)
      await queues.add(queue, [{ id: `job-${(added += 1)}`, data }])
      if (added % 10 === 0) await capacity.measure()
      assert.ok(added < 400, 'it never said that it is full')
    }
    const real = added * 500_000
    await capacity.measure()
    const { bytes = 0 } = capacity.backlogOf('w') ?? {}
    assert.ok(added > 10 && Math.abs(bytes / real - 1) < 0.2, `${bytes} of ${real}`)
    let taken = 0
    const consumer = queues.consume(queue, async () => ((taken += 1), { kind: 'done' }), { concurrency: 4 })
    await until('all is worked off', () => taken >= added, 30_000)
    await until('it takes again', async () => (await capacity.measure(), capacity.complain(['w']) === undefined))
    await consumer.close(5_000)
  })

  it('is not ready while it is full, and is again when there is room', async () => {
    const isReady = () =>
      queues.ping().then(
        () => true,
        () => false,
      )
    const add = (id: string) => queues.add(queue, [{ id, data: randomBytes(8_000).toString('hex') }])
    await add('a1')
    await queues.ping()

    const { bavail, bsize } = statfsSync(disk)
    writeFileSync(join(disk, 'filler'), Buffer.alloc(bavail * bsize))
    // What the table has room for already is still taken.
    await until('it takes no more', () =>
      queues.add(queue, [{ id: `b${performance.now()}`, data: randomBytes(500_000).toString('hex') }]).then(
        () => false,
        ({ code }: { code?: string }) => code === 'QUEUE_AWAY',
      ),
    )
    await until('its own look says so', () =>
      queues.ping().then(
        () => false,
        (error: Error) => /the disk of .* is full/.test(error.message),
      ),
    )

    rmSync(join(disk, 'filler'))
    await until('it is ready again', isReady, 10_000)
    await add('c1')
  })
})
