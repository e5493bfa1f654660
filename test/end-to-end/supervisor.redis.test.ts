import { deepEqual, equal, match, notEqual, ok } from 'node:assert/strict'
import { readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { connectAsync } from 'mqtt'
import { callControl } from '../../src/admin/client.ts'
import { freePort, temporaryFolder, until } from '../support/cleanup.ts'
import { startLoad } from '../support/load.ts'
import { startMosquitto } from '../support/mosquitto.ts'
import type { Running } from '../support/process.ts'
import { startReceiver } from '../support/receiver.ts'
import { startRedis } from '../support/redis.ts'
import { allowEverything, logLines, post, principalEntry, ready, sluice, writeFiles } from '../support/sluice.ts'

const token = 'a-token-for-this-test'

/** The processes that a supervisor has now, by what follows `sluice`. */
async function childrenOf(supervisor: Running): Promise<Map<string, number>> {
  const found = new Map<string, number>()
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue
    const stat = await readFile(`/proc/${name}/stat`, 'utf8').catch(() => '')
    // After the command in parentheses: state and parent.
    const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    if (parent !== String(supervisor.child.pid) || state === 'Z') continue
    const words = (await readFile(`/proc/${name}/cmdline`, 'utf8').catch(() => '')).split('\0')
    found.set(
      words
        .slice(words.indexOf('--config') + 2)
        .join(' ')
        .trim(),
      Number(name),
    )
  }
  return found
}

async function environmentOf(pid: number): Promise<Map<string, string>> {
  const text = await readFile(`/proc/${pid}/environ`, 'utf8')
  return new Map(text.split('\0').flatMap((line) => (line === '' ? [] : [line.split(/=(.*)/s) as [string, string]])))
}

function isGone(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return false
  } catch {
    return true
  }
}

test(
  'on Redis each process has the variables that it resolves; one that is killed comes back; publish, status and reload reach them all',
  { timeout: 90_000 },
  async (context) => {
    const [folder, port, redis, receiver] = [
      await temporaryFolder(context),
      await freePort(),
      await startRedis(context),
      await startReceiver(context),
    ]
    const hook = { kind: 'http', url: receiver.url, credential: { type: 'bearer', token: '${env:HOOK_TOKEN}' } }
    const config = await writeFiles(folder, {
      'sluice.yaml': {
        listen: { http: { port } },
        queue: '${env:QUEUE_URL}',
        limits: { publishesPerSecond: 100_000 },
        bridges: [
          // Nobody is there; what matters is who gets the password.
          {
            name: 'plant',
            url: 'mqtt://127.0.0.1:9',
            topics: ['x'],
            username: 'u',
            password: '${env:BRIDGE_PASSWORD}',
          },
        ],
      },
      'identity/all.yaml': {
        principals: [
          principalEntry('p', token, { policies: ['all'] }),
          { name: 'q', policies: [], token: { sha256: '${env:TOKEN_HASH}' } },
        ],
        policies: { all: allowEverything },
      },
      'rules/all.yaml': 'from: t\nto: [{ worker: hook }, { worker: show }]\n',
      'workers/hook.yaml': hook,
      'workers/show.yaml': '# not ${env:COMMENTED}\nkind: log\n',
    })
    const env = {
      QUEUE_URL: redis.url,
      BRIDGE_PASSWORD: 'bridge-password',
      TOKEN_HASH: '0'.repeat(64),
      HOOK_TOKEN: 'hook-token-1',
      OTHER_TOKEN: 'hook-token-2',
      COMMENTED: 'no',
      AWS_SECRET_ACCESS_KEY: 'nobody asked',
    }
    const running = sluice(context, config, ['start'], { env })
    await ready(running, 3)

    await context.test('environment', async () => {
      const children = await childrenOf(running)
      deepEqual([...children.keys()].toSorted(), ['ingest', 'worker hook', 'worker show'])
      const seen: Record<string, readonly string[]> = {}
      for (const [name, pid] of children) {
        const names = [...(await environmentOf(pid)).keys()]
        seen[name] = names.filter((variable) => Object.hasOwn(env, variable)).toSorted()
      }
      deepEqual(seen, {
        ingest: ['BRIDGE_PASSWORD', 'QUEUE_URL', 'TOKEN_HASH'],
        'worker hook': ['HOOK_TOKEN', 'QUEUE_URL'],
        'worker show': ['QUEUE_URL'],
      })
    })

    await context.test('publish shows what comes out of other processes, and status their states', async () => {
      const tokenFile = join(folder, 'token')
      await writeFiles(folder, { token })
      const published = sluice(context, config, ['publish', 't', '{"n":0}', '--token-file', tokenFile], { env })
      equal(await published.ended(), 0, published.output())
      match(published.output(), /hook \(http\), by rule all: delivered \{"n":0\}/)
      match(published.output(), /show \(log\), by rule all: delivered \{"n":0\}/)
      const { body } = await callControl(join(folder, 'data/control.sock'), 'GET', '/status')
      const { workers } = body as { workers: readonly { name: string; state: string }[] }
      deepEqual(
        workers.map(({ name, state }) => [name, state]),
        [
          ['hook', 'running'],
          ['show', 'running'],
        ],
      )
    })

    await context.test('kill -9 of one under load: it is started again, and the others go on', async () => {
      const before = await childrenOf(running)
      const load = startLoad(port, token, 't', 4)
      await until('it flows', () => load.acknowledged.size > 50)
      process.kill(before.get('worker hook') ?? 0, 'SIGKILL')
      await until('said', () => logLines(running).some(({ process: name }) => name === 'worker hook'))
      const size = load.acknowledged.size
      await until('the door goes on', () => load.acknowledged.size > size + 50)
      await until('it is back', async () => {
        const pid = (await childrenOf(running)).get('worker hook')
        return pid !== undefined && pid !== before.get('worker hook')
      })
      await load.stop()
      await until('all come out', () => [...load.acknowledged].every((body) => receiver.seen.has(body)), 30_000)
      const after = await childrenOf(running)
      equal(after.get('ingest'), before.get('ingest'))
      equal(after.get('worker show'), before.get('worker show'))
      deepEqual([...load.others], [])
    })

    await context.test('a bad file changes nothing anywhere; a good one reaches the process it is for', async () => {
      const before = await childrenOf(running)
      const socket = join(folder, 'data/control.sock')
      await writeFiles(folder, {
        'rules/bad.yaml': 'from: [u/#/v]\nto: [{ worker: hook }]\n',
        'workers/hook.yaml': { ...hook, url: `${receiver.url}/changed` },
      })
      const refused = await callControl(socket, 'POST', '/reload')
      match(JSON.stringify(refused.body), /bad\.yaml/)
      equal((await post(port, token, 't', '"old"')).status, 200)
      await until('it comes out', () => receiver.seen.has('"old"'))
      equal(receiver.requests.at(-1)?.path, '/')

      await rm(join(folder, 'rules/bad.yaml'))
      deepEqual((await callControl(socket, 'POST', '/reload')).body, { problems: [] })
      equal((await post(port, token, 't', '"new"')).status, 200)
      await until('it comes out', () => receiver.seen.has('"new"'))
      equal(receiver.requests.at(-1)?.path, '/changed')
      deepEqual(await childrenOf(running), before, 'nobody was restarted for it')
    })

    await context.test(
      'a worker that names another variable gets another process; a new one and one that is gone too',
      async () => {
        const before = await childrenOf(running)
        const credential = { type: 'bearer', token: '${env:OTHER_TOKEN}' }
        await writeFiles(folder, {
          'workers/hook.yaml': { ...hook, credential },
          'workers/extra.yaml': { ...hook, credential },
          'rules/all.yaml': 'from: t\nto: [{ worker: hook }, { worker: extra }]\n',
        })
        await rm(join(folder, 'workers/show.yaml'))
        // Found by looking at the folders, without being told.
        const names = async () => [...(await childrenOf(running)).keys()].toSorted().join()
        await until(
          'the processes are others',
          async () => (await names()) === 'ingest,worker extra,worker hook',
          20_000,
        )
        const after = await until('hook is replaced', async () => {
          const now = await childrenOf(running)
          return now.get('worker hook') !== before.get('worker hook') && now
        })
        equal(after.get('ingest'), before.get('ingest'))
        const environment = await environmentOf(after.get('worker hook') ?? 0)
        deepEqual([environment.get('HOOK_TOKEN'), environment.get('OTHER_TOKEN')], [undefined, 'hook-token-2'])
        await until('it goes to both', async () => {
          const body = JSON.stringify({ at: performance.now() })
          await post(port, token, 't', body)
          await until('out', () => receiver.seen.has(body))
          return receiver.seen.get(body) === 2
        })
        equal(receiver.requests.at(-1)?.headers.authorization, 'Bearer hook-token-2')
      },
    )

    await context.test('SIGTERM ends all of them', async () => {
      const pids = [...(await childrenOf(running)).values()]
      equal(pids.length, 3)
      equal(await running.stop(), 0, running.output())
      ok(pids.every(isGone))
      notEqual(running.output().includes('did not stop in time'), true)
    })
  },
)

test('when the supervisor is killed, its processes stop by themselves', { timeout: 60_000 }, async (context) => {
  const [folder, port, redis, receiver] = [
    await temporaryFolder(context),
    await freePort(),
    await startRedis(context),
    await startReceiver(context),
  ]
  const config = await writeFiles(folder, {
    'sluice.yaml': { listen: { http: { port } }, queue: redis.url },
    'identity/all.yaml': { principals: [principalEntry('p', token)] },
    'workers/hook.yaml': { kind: 'http', url: receiver.url },
  })
  const running = sluice(context, config, ['start'])
  await ready(running, 2)
  const pids = [...(await childrenOf(running)).values()]
  equal(pids.length, 2)
  running.child.kill('SIGKILL')
  await until('they are gone', () => pids.every(isGone), 15_000)
  match(running.output(), /the supervisor is gone/)
})

test(
  'an ingest whose bridge was taken over is not started again: it would fight',
  { timeout: 60_000 },
  async (context) => {
    const [folder, port, redis, broker] = [
      await temporaryFolder(context),
      await freePort(),
      await startRedis(context),
      await startMosquitto(context),
    ]
    const config = await writeFiles(folder, {
      'sluice.yaml': {
        listen: { http: { port } },
        queue: redis.url,
        bridges: [{ name: 'plant', url: broker.url, topics: ['x'], clientId: 'the-one' }],
      },
      'workers/show.yaml': 'kind: log\n',
    })
    const running = sluice(context, config, ['start'])
    await ready(running, 2)
    await until('the bridge is connected', async () => {
      const { body } = await callControl(join(folder, 'data/control.sock'), 'GET', '/status')
      return /connected as the-one/.test(JSON.stringify(body))
    })
    // It comes back whenever it is thrown out, so that it is us who have to give way.
    const other = await connectAsync(broker.url, { protocolVersion: 5, clientId: 'the-one', reconnectPeriod: 100 })
    context.after(() => other.endAsync(true))
    equal(await running.ended(), 1, running.output())
    match(running.output(), /cannot go on/)
    equal(/is started again/.test(running.output()), false)
  },
)
