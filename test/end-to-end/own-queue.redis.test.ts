import { deepEqual, equal, match, ok } from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { Redis } from 'ioredis'
import { freePort, temporaryFolder, until } from '../support/cleanup.ts'
import { startReceiver } from '../support/receiver.ts'
import { startRedis } from '../support/redis.ts'
import { logLines, oneForEverything, post, ready, sluice, writeFiles } from '../support/sluice.ts'

const token = 'a-token-for-this-test'

/** Which of these variables each process of a supervisor has, by the last words of its command line. */
async function variablesOf(supervisor: number, names: readonly string[]): Promise<Record<string, readonly string[]>> {
  const found: Record<string, readonly string[]> = {}
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
    if (stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1] !== String(supervisor)) continue
    const words = (await readFile(`/proc/${pid}/cmdline`, 'utf8')).split('\0').filter((word) => word !== '')
    const environment = (await readFile(`/proc/${pid}/environ`, 'utf8')).split('\0')
    found[words.slice(words.indexOf('--config') + 2).join(' ')] = names.filter((name) =>
      environment.some((line) => line.startsWith(`${name}=`)),
    )
  }
  return found
}

test('a worker with a Redis of its own: while that is away only its messages are refused, and all that was acknowledged arrives', async (t) => {
  const [folder, port, shared, hook, lake] = [
    await temporaryFolder(t),
    await freePort(),
    await startRedis(t),
    await startReceiver(t),
    await startReceiver(t),
  ]
  let own = await startRedis(t)
  const lakeFile = (queue: string, more = '') =>
    `kind: http\nurl: ${lake.url}\ncredential: { type: bearer, token: '\${env:LAKE_TOKEN}' }\nqueue: ${queue}\n${more}`
  const config = await writeFiles(folder, {
    'sluice.yaml': { data: './data', listen: { http: { port } }, queue: '${env:QUEUE_URL}' },
    'identity/all.yaml': oneForEverything(token),
    'rules/both.yaml': 'from: both\nto: [{ worker: hook }, { worker: lake }]\n',
    'rules/hook.yaml': 'from: hook\nto: [{ worker: hook }]\n',
    'rules/lake.yaml': 'from: lake\nto: [{ worker: lake }]\n',
    'workers/hook.yaml': {
      kind: 'http',
      url: hook.url,
      credential: { type: 'bearer', token: '${env:HOOK_TOKEN}' },
    },
    'workers/lake.yaml': lakeFile('${env:LAKE_QUEUE}'),
  })
  const env = { QUEUE_URL: shared.url, LAKE_QUEUE: own.url, LAKE_TOKEN: 'lake-token', HOOK_TOKEN: 'hook-token' }
  const running = sluice(t, config, ['start'], { env })
  await ready(running, 3)
  const say = (topic: string, body: string) => post(port, token, topic, body)
  const command = async (...parameters: string[]) => {
    const ran = sluice(t, config, parameters, { env })
    const code = await ran.ended()
    return { code, text: ran.output() }
  }

  await t.test(
    'ingest has the way to that Redis and no other secret of the worker, which has no way to the shared one',
    async () => {
      deepEqual(await variablesOf(running.child.pid ?? 0, Object.keys(env)), {
        ingest: ['QUEUE_URL', 'LAKE_QUEUE'],
        'worker hook': ['QUEUE_URL', 'HOOK_TOKEN'],
        'worker lake': ['LAKE_QUEUE', 'LAKE_TOKEN'],
      })
    },
  )

  const acknowledged: string[] = []
  const take = async (topic: string, body: string) => {
    const { status } = await say(topic, body)
    equal(status, 200)
    acknowledged.push(body)
  }
  await take('both', '{"n":1}')
  await until('both have it', () => hook.seen.has('{"n":1}') && lake.seen.has('{"n":1}'))

  await t.test(
    'killed: what is for its worker is refused before any of it is in, the others go on, and status says so',
    async () => {
      // Something waits in it when it dies.
      lake.answer(503)
      await take('lake', '{"n":2}')
      await own.stop('SIGKILL')
      const away = /^lake .*\? .*the queue of worker lake is away/m
      await until('status says so', async () => away.test((await command('status')).text))
      const refused = await say('both', '{"n":-1}')
      equal(refused.status, 503)
      match(refused.body.message, /the queue of worker lake is away/)
      equal((await say('lake', '{"n":-2}')).status, 503)
      await take('hook', '{"n":3}')
      equal((await fetch(`http://127.0.0.1:${port}/readyz`)).status, 200)
      await until('it went on', () => hook.seen.has('{"n":3}'))
      ok(!hook.seen.has('{"n":-1}'), 'no part of it went anywhere')
      const letters = await command('dead-letters', 'ls')
      ok(letters.code !== 0)
      match(letters.text, /the queue of worker lake/)
      equal((await command('dead-letters', 'ls', '--worker', 'hook')).code, 0)
    },
  )

  await t.test('back: everything that was acknowledged arrives', async () => {
    lake.answer(200)
    own = await startRedis(t, { port: own.port, folder: own.folder })
    await until('it takes again', async () => (await say('both', '{"n":4}')).status === 200, 20_000)
    await until(
      'all arrived',
      () => lake.seen.has('{"n":2}') && lake.seen.has('{"n":4}') && hook.seen.has('{"n":4}'),
      20_000,
    )
  })

  await t.test('dead letters of both are listed and put back, and the ledger closes', async () => {
    for (const receiver of [hook, lake]) receiver.answer(422)
    await take('both', '{"n":5}')
    const owners = async () => {
      const { text } = await command('dead-letters', 'ls', '--json')
      return (JSON.parse(text) as { letters: { owner: string }[] }).letters.map(({ owner }) => owner).toSorted()
    }
    await until('both gave it up', async () => (await owners()).join() === 'hook,lake', 20_000)
    for (const receiver of [hook, lake]) receiver.answer(200)
    match((await command('dead-letters', 'replay', '--all')).text, /"replayed":2/)
    await until('both have it', () => hook.seen.has('{"n":5}') && lake.seen.has('{"n":5}'))
    await until('nothing is under way', async () => {
      const { code, text } = await command('ledger', '--json')
      const { rows } = JSON.parse(text) as { rows: { worker: string; pending: number; delivered: number }[] }
      equal(code, 0, text)
      return rows.length >= 3 && rows.every(({ pending }) => pending === 0)
    })
  })

  await t.test('a reload can neither move a queue nor open a new one, and says so', async () => {
    const problem = async () => (await command('reload')).text
    await writeFiles(folder, { 'workers/lake.yaml': lakeFile('redis://127.0.0.1:1') })
    match(await problem(), /lake\.yaml:.*is in another place than the running Sluice has it.*restart to apply it/)
    await writeFiles(folder, { 'workers/lake.yaml': lakeFile('${env:LAKE_QUEUE}', 'keep: output\n') })
    await writeFiles(folder, { 'workers/new.yaml': 'kind: log\nqueue: redis://127.0.0.1:1\n' })
    match(await problem(), /worker "new" is new, and a queue of its own is opened at a start only/)
    // Said otherwise it is still the same place, and keeps nothing else from being applied.
    const otherwise = lakeFile("{ url: '${env:LAKE_QUEUE}', size: 1GiB }")
    await writeFiles(folder, { 'workers/new.yaml': 'kind: log\n', 'workers/lake.yaml': otherwise })
    equal((await command('reload')).code, 0)
    await take('both', '{"n":6}')
    await until('both have it', () => hook.seen.has('{"n":6}') && lake.seen.has('{"n":6}'))
  })
  equal(await running.stop(), 0)

  await t.test('what a worker left where it was before is said at the start', async () => {
    await writeFiles(folder, { 'workers/lake.yaml': 'kind: log\n', 'workers/hook.yaml': lakeFile('${env:LAKE_QUEUE}') })
    const ingest = sluice(t, config, ['ingest'], { env })
    await ready(ingest)
    const error = logLines(ingest).find(({ at }) => at === `127.0.0.1:${own.port}/0`)
    match(String(error?.['msg']), /this worker had its queue there when ingest started last/)
    equal((await post(port, token, 'lake', '{"n":7}')).status, 200)
    await ingest.stop()
    await writeFiles(folder, { 'workers/lake.yaml': lakeFile('${env:LAKE_QUEUE}') })
    match((await command('check')).text, /the queue that all share holds 1 message of "lake"/)
  })
})

test('an own Redis that is not safe, or hangs, refuses what is for its worker until it can be used, and keeps nobody from starting', async (t) => {
  const [folder, port, shared, unsafe] = [
    await temporaryFolder(t),
    await freePort(),
    await startRedis(t),
    await startRedis(t, { parameters: ['--maxmemory-policy', 'allkeys-lru'] }),
  ]
  const config = await writeFiles(folder, {
    'sluice.yaml': { data: join(folder, 'data'), listen: { http: { port } }, queue: shared.url },
    'identity/all.yaml': oneForEverything(token),
    'rules/hook.yaml': 'from: hook\nto: [{ worker: hook }]\n',
    'rules/lake.yaml': 'from: lake\nto: [{ worker: lake }]\n',
    'workers/hook.yaml': 'kind: log\n',
    'workers/lake.yaml': `kind: log\nqueue: ${unsafe.url}\n`,
  })
  const ingest = sluice(t, config, ['ingest'])
  await ready(ingest)
  ok(logLines(ingest).some(({ worker, msg }) => worker === 'lake' && String(msg).includes('maxmemory-policy')))
  equal((await post(port, token, 'hook', '{}')).status, 200)
  const refused = await post(port, token, 'lake', '{}')
  equal(refused.status, 503)
  match(refused.body.message, /the queue of worker lake is away: Redis may throw queued messages away/)

  const redis = new Redis(unsafe.url)
  t.after(() => redis.disconnect())
  await redis.config('SET', 'maxmemory-policy', 'noeviction')
  const isTaken = async () => (await post(port, token, 'lake', '{}')).status === 200
  await until('it is safe', isTaken)

  unsafe.child.kill('SIGSTOP')
  // Only an add can find that out.
  equal((await post(port, token, 'lake', '{}')).status, 503)
  match((await post(port, token, 'lake', '{}')).body.message, /the queue of worker lake is away/)
  equal((await post(port, token, 'hook', '{}')).status, 200)
  unsafe.child.kill('SIGCONT')
  await until('it answers', isTaken)
})
