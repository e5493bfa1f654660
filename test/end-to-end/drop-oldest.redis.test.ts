import { equal, ok } from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { callControl } from '../../src/admin/client.ts'
import { freePort, temporaryFolder, until } from '../support/cleanup.ts'
import { startRedis } from '../support/redis.ts'
import { oneForEverything, post, ready, sluice, writeFiles } from '../support/sluice.ts'

const token = 'a-token-for-this-test'

test('a worker whose service is down drops its oldest where its file says so, and the ledger knows of each', async (t) => {
  const [folder, port, redis] = [await temporaryFolder(t), await freePort(), await startRedis(t)]
  const config = await writeFiles(folder, {
    'sluice.yaml': {
      data: './data',
      listen: { http: { port } },
      queue: { url: redis.url, size: '16MiB' },
      limits: { publishesPerSecond: 100_000, bytesPerSecond: '1GiB' },
    },
    'identity/all.yaml': oneForEverything(token),
    'rules/down.yaml': 'from: down\nto: [{ worker: down }]\n',
    'workers/down.yaml': {
      kind: 'http',
      url: 'http://127.0.0.1:9/',
      backlog: { max: '6.25%', whenFull: 'drop-oldest' },
    },
  })
  await ready(sluice(t, config, ['ingest']))
  await ready(sluice(t, config, ['worker', 'down']))
  let accepted = 0
  // Twice what it may have; where it is at its bound for a moment, the publisher is told "later".
  await until(
    'all are taken',
    async () => {
      while (accepted < 100) {
        const { status } = await post(port, token, 'down', JSON.stringify({ n: accepted, filler: 'x'.repeat(20_000) }))
        if (status === 503) return false
        equal(status, 200)
        accepted += 1
      }
      return true
    },
    30_000,
  )
  const ask = async (path: string) => (await callControl(join(folder, 'data/control.sock'), 'GET', path)).body
  type Status = { workers: readonly { name: string; backlog: { bytes: number; limit: number } }[] }
  const worker = await until('it is below its bound', async () => {
    const found = ((await ask('/status')) as Status).workers.find(({ name }) => name === 'down')
    return found !== undefined && found.backlog.bytes < found.backlog.limit && found
  })
  equal(worker.backlog.limit, 1_048_576)
  const ledger = sluice(t, config, ['ledger', '--json'])
  equal(await ledger.ended(), 0, ledger.output())
  ok(/"full": ?[1-9]/.test(ledger.output()), ledger.output())
})
