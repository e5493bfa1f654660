import { existsSync } from 'node:fs'
import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { freePort, type Scope, temporaryFolder } from '../support/cleanup.ts'
import { startMosquitto } from '../support/mosquitto.ts'
import type { Running } from '../support/process.ts'
import { startRedis } from '../support/redis.ts'
import { ready, sluice, writeFiles } from '../support/sluice.ts'
import { type Door, identities } from './doors.ts'
import { type FarSide, startFarSide } from './far-side.ts'
import { mountSmallDisk } from './disk.ts'
import { type Part, startPart } from './part.ts'
import { type RedisPair, startRedisPair } from './redis-pair.ts'
import { type Clock, createClock } from './clock.ts'

/** What is put together for a run. */
export interface Setting {
  readonly door: Door
  /** `replicated`: a primary and its replica behind one address, and acknowledgements that wait for both. */
  readonly queue: 'redis' | 'replicated' | 'embedded'
  /** The queue's files stand on a small file system of their own, which a fault may fill. */
  readonly smallDisk: boolean
  /** Sluice runs on a clock of its own, which a fault may set. (Redis doesn't: its allocator and libfaketime wait for each other.) */
  readonly ownClock: boolean
}

/** Sluice with real servers around it, each of which can be struck. */
export interface World {
  readonly scope: Scope
  readonly setting: Setting
  readonly config: string
  /** Where the publishers' door is: Sluice's own, or Mosquitto's. */
  readonly port: number
  /** Those that run Sluice, ingest first. */
  readonly sluice: readonly Part[]
  readonly redis?: Part
  readonly pair?: RedisPair
  readonly mosquitto?: Part
  readonly farSide: FarSide
  /** Where the queue's files are. */
  readonly disk: string
  readonly clock?: Clock
  /** Numbers of the messages in the archive, which the `file` worker writes. */
  archived(): Promise<ReadonlySet<number>>
  /** All that the processes printed. */
  output(): string
  close(): Promise<void>
}

/** A rule with `where` and `select` and two actions: a far side that refuses some messages for good, and a file. */
const rule = `
from: devices/+/+
where: celsius >= 20
select: '{ "n": n, "thing": $topic(2), "at": $timestamp() }'
to: [{ worker: hook }, { worker: archive }]
`

/** Brings it up, and resolves when all its parts are ready. A bridge may not have subscribed yet. */
export async function startWorld(scope: Scope, setting: Setting): Promise<World> {
  const { door, queue } = setting
  const folder = await temporaryFolder(scope)
  const disk = join(folder, 'disk')
  await mkdir(disk)
  if (setting.smallDisk) mountSmallDisk(scope, disk)
  const clock = setting.ownClock ? await createClock(folder) : undefined
  const environment = clock?.environment ?? {}
  const farSide = await startFarSide(scope)

  const redisPort = await freePort()
  const redis =
    queue === 'redis' ? await startPart('redis', () => startRedis(scope, { port: redisPort, folder: disk })) : undefined
  const pair = queue === 'replicated' ? await startRedisPair(scope) : undefined
  const port = await freePort()
  const mosquittoFolder = join(folder, 'mosquitto')
  await mkdir(mosquittoFolder)
  const mosquitto =
    door === 'bridge'
      ? await startPart('mosquitto', () => startMosquitto(scope, { port, folder: mosquittoFolder }))
      : undefined

  const archive = join(folder, 'archive.ndjson')
  const data = join(disk, 'data')
  const bridge = { name: 'plant', url: `mqtt://127.0.0.1:${port}`, topics: ['devices/#'], thing: '${ $topic(2) }' }
  const config = await writeFiles(folder, {
    'sluice.yaml': {
      data,
      listen: door === 'bridge' ? {} : { [door === 'http' ? 'http' : 'mqtt']: { port } },
      ...(door === 'bridge' && { bridges: [{ ...bridge, actsFor: ['*'] }] }),
      queue: {
        url: queue === 'embedded' ? 'embedded' : `redis://127.0.0.1:${pair?.port ?? redisPort}`,
        ...(pair !== undefined && { durability: 'replicated' }),
      },
    },
    'identity/things.yaml': identities,
    'rules/all.yaml': rule,
    // Patient with outages, so that whatever is given up was refused; quick to try again, so that a run is short.
    'workers/hook.yaml': {
      kind: 'http',
      url: farSide.url,
      batch: 'json-array',
      delivery: { attempts: 1_000, backoff: { first: '50ms', max: '1s' } },
    },
    'workers/archive.yaml': { kind: 'file', path: archive },
  })

  const begin = (parameters: readonly string[]) => async (): Promise<Running> => {
    const running = sluice(scope, config, parameters, { env: environment })
    await ready(running)
    return running
  }
  const parts =
    queue === 'embedded'
      ? [await startPart('sluice', begin(['start']))]
      : await Promise.all([
          startPart('ingest', begin(['ingest'])),
          startPart('workers', begin(['worker', 'hook', 'archive'])),
        ])

  return {
    scope,
    setting,
    config,
    port,
    sluice: parts,
    ...(redis !== undefined && { redis }),
    ...(pair !== undefined && { pair }),
    ...(mosquitto !== undefined && { mosquitto }),
    farSide,
    disk,
    ...(clock !== undefined && { clock }),
    archived: () => numbersIn(archive),
    output: () => [...parts, redis, mosquitto].map((part) => `--- ${part?.name}\n${part?.output()}`).join('\n'),
    async close() {
      for (const part of [...parts, redis, mosquitto]) await part?.stop()
      await pair?.stop()
    },
  }
}

async function numbersIn(path: string): Promise<ReadonlySet<number>> {
  if (!existsSync(path)) return new Set()
  const lines = (await readFile(path, 'utf8')).split('\n').slice(0, -1)
  return new Set(lines.map((line) => (JSON.parse(line) as { n: number }).n))
}
