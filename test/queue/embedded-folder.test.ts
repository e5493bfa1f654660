import assert from 'node:assert/strict'
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { silent } from '../../src/core/log.ts'
import { openEmbeddedQueues } from '../../src/queue/embedded.ts'
import { temporaryFolder, until } from '../support/cleanup.ts'
import { keepLines } from '../support/logs.ts'

const work = { owner: 'w', part: 'work' } as const
const random = (length: number) => Array.from({ length }, () => Math.random().toString(36).slice(2)).join('')

test('the folder of the embedded queue', async (t) => {
  const sound = await temporaryFolder(t)
  // What a crash in the middle of a first start leaves.
  mkdirSync(join(sound, 'pg.new'))
  writeFileSync(join(sound, 'pg.new', 'PG_VERSION'), '18')
  writeFileSync(join(sound, 'owner.txt'), 'process 1 on elsewhere')

  await t.test('a first start that broke off is begun anew', async () => {
    const log = keepLines()
    const queues = await openEmbeddedQueues({ folder: sound, log })
    for (let count = 0; count < 10; count += 1) await queues.add(work, [{ id: `job-${count}`, data: 1 }])
    await queues.close()
    assert.ok(log.lines.some(({ message }) => /made a new embedded queue/.test(message)))
    assert.ok(!existsSync(join(sound, 'pg.new')))
  })

  const damages: Record<string, (folder: string) => void> = {
    'PG_VERSION gone': (folder) => rmSync(join(folder, 'pg', 'PG_VERSION')),
    'control file garbled': (folder) =>
      writeFileSync(join(folder, 'pg', 'global', 'pg_control'), Buffer.alloc(8192, 7)),
    'control file cut off': (folder) => truncateSync(join(folder, 'pg', 'global', 'pg_control'), 10),
    'tables gone': (folder) => rmSync(join(folder, 'pg', 'base'), { recursive: true }),
    'log gone': (folder) => rmSync(join(folder, 'pg', 'pg_wal'), { recursive: true }),
    'everything gone': (folder) => (rmSync(join(folder, 'pg'), { recursive: true }), mkdirSync(join(folder, 'pg'))),
    'a page of the jobs garbled': garbleJobs,
    'the lock garbled': (folder) => writeFileSync(join(folder, 'owner.db'), 'not a database, by far'),
    'another folder altogether': (folder) => renameSync(join(folder, 'pg'), join(folder, 'photos')),
  }
  for (const [name, damage] of Object.entries(damages)) {
    await t.test(`${name}: an error that says what to do, and nothing new is made`, async () => {
      const folder = await temporaryFolder(t)
      cpSync(sound, folder, { recursive: true })
      damage(folder)
      // Postgres makes its cache anew at each start.
      const before = filesIn(folder).filter((file) => !file.endsWith('pg_internal.init'))
      await assert.rejects(openEmbeddedQueues({ folder, log: silent }), {
        code: 'QUEUE_CORRUPT',
        message: /cannot be opened.*(move it away|delete it)/s,
      })
      assert.deepEqual(
        before.filter((file) => !existsSync(join(folder, file))),
        [],
      )
      assert.equal(existsSync(join(folder, 'pg', 'PG_VERSION')), before.includes(join('pg', 'PG_VERSION')))
    })
  }

  await t.test('should Postgres break off, all fail, and it is opened again', async () => {
    const log = keepLines()
    const queues = await openEmbeddedQueues({ folder: sound, log })
    const seen = new Set<string>()
    const consumer = queues.consume(work, async (job) => (seen.add(job.id), { kind: 'done' }), { concurrency: 2 })
    await until('it works', () => seen.size === 10)
    // Its next segment of the log can't be made now: PANIC.
    const [log1, log2] = [join(sound, 'pg', 'pg_wal'), join(sound, 'pg', 'pg_wal-away')]
    renameSync(log1, log2)
    const acknowledged: string[] = []
    await until('it broke off', async () => {
      const id = `big-${acknowledged.length}`
      const added = queues.add(work, [{ id, data: random(40_000) }])
      return added.then(
        () => void acknowledged.push(id),
        (error: unknown) => error instanceof Error && 'code' in error && error.code === 'QUEUE_AWAY',
      )
    })
    await assert.rejects(queues.ping(), { code: 'QUEUE_AWAY' })
    rmSync(log1, { recursive: true, force: true })
    renameSync(log2, log1)
    await until('it is open again', () =>
      queues.ping().then(
        () => true,
        () => false,
      ),
    )
    await queues.add(work, [{ id: 'after-1', data: 1 }])
    await until('all came', () => seen.has('after-1') && acknowledged.every((id) => seen.has(id)))
    await consumer.close(5_000)
    await queues.close()
    assert.deepEqual(log.lines.filter(({ message }) => /is away|is back/.test(message)).length, 2)
  })
})

function filesIn(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: false }).map(String)
}

/** Overwrites the page that holds the ids of the jobs. */
function garbleJobs(folder: string): void {
  let garbled = 0
  for (const file of filesIn(join(folder, 'pg', 'base'))) {
    const path = join(folder, 'pg', 'base', file)
    // Tables of our own have numbers from 16384.
    if (!/\/\d{5}$/.test(file) || Number(file.split('/')[1]) < 16_384) continue
    const bytes = readFileSync(path)
    const at = bytes.indexOf('job-7')
    if (at < 0 || !bytes.includes('removeOnComplete')) continue
    writeFileSync(path, bytes.fill(3, at, at + 5))
    garbled += 1
  }
  assert.ok(garbled > 0)
}
