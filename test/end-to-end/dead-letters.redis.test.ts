import { deepEqual, equal, match } from 'node:assert/strict'
import { test } from 'node:test'
import { silent } from '../../src/core/log.ts'
import { openRedisQueues } from '../../src/queue/redis.ts'
import { temporaryFolder } from '../support/cleanup.ts'
import { fillDead } from '../support/dead-letters.ts'
import { startRedis } from '../support/redis.ts'
import { ready, sluice, writeFiles } from '../support/sluice.ts'

test('dead letters beyond a page are listed, put back and thrown away by the command line', async (t) => {
  const redis = await startRedis(t)
  const queues = await openRedisQueues({ url: redis.url, role: 'ingest', log: silent })
  t.after(() => queues.close())
  for (const owner of ['gone', 'hook'])
    await fillDead(
      queues,
      owner,
      Array.from({ length: 1_300 }, (_, index) => ({ id: `${owner}${index}`, rule: index % 2 === 0 ? 'hot' : 'cold' })),
    )
  const config = await writeFiles(await temporaryFolder(t), {
    'sluice.yaml': { data: './data', queue: redis.url, listen: {}, log: { format: 'json' } },
    'workers/hook.yaml': { kind: 'http', url: 'http://127.0.0.1:9/' },
    'rules/hot.yaml': { from: 'hot', to: [{ worker: 'hook' }] },
    'identity/none.yaml': { things: [] },
  })
  await ready(sluice(t, config, ['ingest']))
  const command = async (...parameters: string[]) => {
    const ran = sluice(t, config, ['dead-letters', ...parameters])
    equal(await ran.ended(), 0, ran.output())
    return ran.output()
  }
  type List = { readonly letters: readonly { readonly id: string }[]; readonly more: boolean }
  const list = async (...parameters: string[]) => JSON.parse(await command('ls', '--json', ...parameters)) as List

  const all = await list('--all')
  equal(new Set(all.letters.map(({ id }) => id)).size, 2_600)
  equal(all.more, false)
  const some = await list('--limit', '1500')
  deepEqual([some.letters, some.more], [all.letters.slice(0, 1_500), true])
  equal((await list('--all', '--worker', 'hook', '--rule', 'cold')).letters.length, 650)
  match(await command('ls'), /there are more: --all, or a larger --limit, shows them/)
  match(await command('ls', '--all', '--kind', 'expired'), /^no dead letters$/m)

  const counts = async (...parameters: string[]) => JSON.parse((await command(...parameters)).split('\n').at(-2) ?? '')
  deepEqual(await counts('purge', '--all', '--rule', 'cold', '--worker', 'gone', '--limit', '20'), {
    purged: 20,
    missing: 0,
    more: true,
  })
  deepEqual(await counts('replay', '--all'), { replayed: 1_300, kept: 1_280, missing: 0, more: false })
  deepEqual(await counts('purge', '--all'), { purged: 1_280, missing: 0, more: false })
  deepEqual(await list('--all'), { letters: [], more: false })
})
