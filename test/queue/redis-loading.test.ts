import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { Redis } from 'ioredis'
import { silent } from '../../src/core/log.ts'
import { openRedisQueues, type RedisQueuesOptions } from '../../src/queue/redis.ts'
import { temporaryFolder, until } from '../support/cleanup.ts'
import { keepLines } from '../support/logs.ts'
import { startRedis } from '../support/redis.ts'

const work = { owner: 'w', part: 'work' } as const

/** A Redis whose user `default` is as said. Everybody here is `me`, who may all but what `me` says. */
async function startWith(t: TestContext, users: { readonly default: string; readonly me?: string }) {
  const folder = await temporaryFolder(t)
  const file = join(folder, 'users.acl')
  writeFileSync(
    file,
    `user default ${users.default}\nuser me on >pass ~* &* +@all ${users.me ?? ''}\nuser admin on >pass ~* &* +@all\n`,
  )
  const parameters = ['--aclfile', file]
  const server = await startRedis(t, { folder, parameters })
  const url = `redis://me:pass@127.0.0.1:${server.port}`
  const admin = new Redis(`redis://admin:pass@127.0.0.1:${server.port}`, { retryStrategy: () => 100 })
  admin.on('error', () => {})
  t.after(() => admin.disconnect())
  return {
    url,
    admin,
    restart: async () => {
      await server.stop()
      await startRedis(t, { port: server.port, folder, parameters })
    },
    open: async (options: Partial<RedisQueuesOptions> = {}) => {
      const queues = await openRedisQueues({ url, role: 'ingest', log: silent, ...options })
      t.after(() => queues.close())
      return queues
    },
  }
}

const refusal = { code: 'QUEUE_UNSAFE', message: /write "user default off ~\* &\* \+@all" into its ACL file/ }
const ids = (count: number) => Array.from({ length: count }, (_, index) => ({ id: `job-${index}`, data: 'x' }))

test('a Redis that drops its transactions when it loads is refused; once mended it keeps what it holds over a restart', async (t) => {
  const { admin, open, restart } = await startWith(t, { default: 'off' })
  await assert.rejects(open(), refusal)
  // What the refusal is for: it took them, and has none after a restart.
  const careless = await open({ acceptLoss: true })
  assert.match(careless.describe, /; but Redis forgets the queue at its next start/)
  await careless.add(work, ids(20))
  await restart()
  await until('it is back', () =>
    careless.counts(work).then(
      ({ waiting }) => waiting === 0,
      () => false,
    ),
  )

  await careless.add(work, ids(20))
  await admin.call('ACL', 'SETUSER', 'default', 'off', '~*', '&*', '+@all')
  await admin.call('ACL', 'SAVE')
  const queues = await open()
  assert.match(queues.describe, /survives the death of any process/)
  await restart()
  await until('all are there', () =>
    queues.counts(work).then(
      ({ waiting }) => waiting === 20,
      () => false,
    ),
  )
})

for (const [what, user, command] of [
  ['reaches the keys of somebody else only', 'on >other ~app:* &* +@all', 'SET {sluice:any}:any:1'],
  ['reaches the work of workers and nothing of ingest', 'on >other ~{sluice:*}:* &* +@all', 'SET {sluice}:any'],
  ['may only read', 'on nopass ~* &* +@read', 'SELECT 0'],
  ['may not what BullMQ needs', 'off ~* &* +@all -xadd', 'XADD {sluice:any}:any:1'],
  ['may not what a time to live becomes in the file', 'off ~* &* +@all -pexpireat', 'PEXPIREAT {sluice:any}:any:1'],
] as const) {
  test(`a Redis is refused whose default user ${what}`, async (t) => {
    const { open } = await startWith(t, { default: user })
    await assert.rejects(open(), { ...refusal, message: new RegExp(`"${command.replace(/[{}]/g, '\\$&')}"`) })
  })
}

test('where it may not be asked how Redis loads, a start says so and goes on', async (t) => {
  const { open } = await startWith(t, { default: 'off', me: '-acl' })
  const log = keepLines()
  const queues = await open({ log })
  assert.deepEqual(
    log.lines.map(({ level, message }) => [level, /could not be checked \(NOPERM/.test(message)]),
    [['warn', true]],
  )
  assert.match(queues.describe, /; but whether .* could not be checked/)
  await queues.add(work, ids(1))
})
