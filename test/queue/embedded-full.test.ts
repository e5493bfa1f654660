import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { rmSync, statfsSync, writeFileSync } from 'node:fs'
import { mkdtemp, rmdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { silent } from '../../src/core/log.ts'
import { openEmbeddedQueues } from '../../src/queue/embedded.ts'
import { until } from '../support/cleanup.ts'

const mayMount = process.getuid?.() === 0 && process.platform === 'linux'

test(
  'on a full disk the embedded queue is not ready, and is again when there is room',
  { skip: !mayMount },
  async (t) => {
    const disk = await mkdtemp(join(tmpdir(), 'sluice-test-'))
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=120m', 'tmpfs', disk])
    const queues = await openEmbeddedQueues({ folder: join(disk, 'queue'), log: silent })
    t.after(async () => {
      await queues.close()
      execFileSync('umount', ['-l', disk])
      await rmdir(disk)
    })
    const isReady = () =>
      queues.ping().then(
        () => true,
        () => false,
      )
    const add = (id: string) =>
      queues.add({ owner: 'w', part: 'work' }, [{ id, data: randomBytes(8_000).toString('hex') }])
    await add('a1')
    await queues.ping()

    const { bavail, bsize } = statfsSync(disk)
    writeFileSync(join(disk, 'filler'), Buffer.alloc(bavail * bsize))
    await until('it is not ready', async () => !(await isReady()), 3_000)
    await assert.rejects(queues.ping(), { code: 'QUEUE_AWAY', message: /full|No space left/ })
    await assert.rejects(add('b1'), { code: 'QUEUE_AWAY' })
    // Nothing has been added for a second, and a small commit would find room in the files that are there.
    await until('its own look says so', () =>
      queues.ping().then(
        () => false,
        (error: Error) => /the disk of .* is full/.test(error.message),
      ),
    )

    rmSync(join(disk, 'filler'))
    await until('it is ready again', isReady, 3_000)
    await add('c1')
  },
)
