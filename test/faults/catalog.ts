import type { Answer } from '../support/http-target.ts'
import { slowDisk as slowDiskOf } from '../support/slow-disk.ts'
import { fillDisk } from './disk.ts'
import type { Part } from './part.ts'
import type { Random } from './random.ts'
import type { Setting, World } from './world.ts'

/** Something that goes wrong, and is mended: when `strike` has resolved, all runs as before. */
export interface Fault {
  readonly name: string
  fits(setting: Setting): boolean
  strike(world: World, random: Random): Promise<void>
}

const always = () => true
const onRedis = ({ queue }: Setting) => queue === 'redis'
const inProcesses = ({ queue }: Setting) => queue !== 'embedded'
const behindMosquitto = ({ door }: Setting) => door === 'bridge'
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

/** One that is killed has lost everything that it had not written. */
function killed(name: string, fits: Fault['fits'], partOf: (world: World) => Part | undefined): Fault {
  return {
    name: `${name} is killed`,
    fits,
    strike: async (world, random) => void (await partOf(world)?.restart('SIGKILL', random.between(0, 1_500))),
  }
}

/** One that is asked to stop may finish what it has in hand. */
function stopped(name: string, fits: Fault['fits'], partOf: (world: World) => Part | undefined): Fault {
  return {
    name: `${name} is stopped`,
    fits,
    strike: async (world, random) => void (await partOf(world)?.restart('SIGTERM', random.between(0, 1_500))),
  }
}

/** One that is frozen holds its connections and answers nothing. */
function frozen(name: string, fits: Fault['fits'], partOf: (world: World) => Part | undefined): Fault {
  return {
    name: `${name} is frozen`,
    fits,
    async strike(world, random) {
      const part = partOf(world)
      part?.signal('SIGSTOP')
      await pause(random.between(300, 4_000))
      part?.signal('SIGCONT')
    },
  }
}

/** A far side that takes nothing for a while, and says so or not. */
function farSide(name: string, answer: Answer): Fault {
  return {
    name: `the far side ${name}`,
    fits: always,
    async strike({ farSide: one }, random) {
      one.answer(answer)
      await pause(random.between(500, 3_000))
      one.answer(undefined)
    },
  }
}

const ingest = (world: World) => world.sluice[0]
const workers = (world: World) => world.sluice.at(-1)
const redis = (world: World) => world.redis
const mosquitto = (world: World) => world.mosquitto

const failover: Fault = {
  name: 'Redis fails over',
  fits: ({ queue }) => queue === 'replicated',
  strike: async ({ pair }, random) => pair?.failOver(random.pick(['killed', 'demoted']), random.between(0, 1_500)),
}

const slowDisk: Fault = {
  name: 'the disk is slow',
  // It is the primary's that counts, and which one that is changes.
  fits: ({ queue }) => queue !== 'replicated',
  async strike(world, random) {
    const part = world.redis ?? ingest(world)
    const slow = await slowDiskOf(world.scope, part?.pid, random.between(200, 3_000)).catch(() => undefined)
    // Just when another fault had it: there is nothing to attach to.
    await pause(slow === undefined ? 0 : 5_000)
    await slow?.end()
  },
}

const fullDisk: Fault = {
  name: 'the disk is full',
  fits: ({ smallDisk, queue }) => smallDisk && queue !== 'replicated',
  async strike(world, random) {
    const empty = fillDisk(world.disk)
    await pause(random.between(1_000, 4_000))
    empty()
  },
}

const farSideSlow: Fault = {
  name: 'the far side is slow',
  fits: always,
  async strike({ farSide }, random) {
    farSide.delayMs = random.between(200, 2_000)
    await pause(random.between(1_000, 4_000))
    farSide.delayMs = 0
  },
}

const clockSteps: Fault = {
  name: 'the clock steps',
  fits: ({ ownClock }) => ownClock,
  async strike({ clock }, random) {
    await clock?.set(random.pick([-86_400, -3_600, -60, 60, 3_600, 2 * 86_400]))
    await pause(random.between(1_000, 4_000))
    await clock?.set(0)
  },
}

/** All that a run may choose from. */
export const catalog: readonly Fault[] = [
  killed('sluice', ({ queue }) => queue === 'embedded', ingest),
  stopped('sluice', ({ queue }) => queue === 'embedded', ingest),
  killed('ingest', inProcesses, ingest),
  stopped('ingest', inProcesses, ingest),
  frozen('ingest', inProcesses, ingest),
  killed('the worker', inProcesses, workers),
  stopped('the worker', inProcesses, workers),
  frozen('the worker', inProcesses, workers),
  killed('Redis', onRedis, redis),
  stopped('Redis', onRedis, redis),
  frozen('Redis', onRedis, redis),
  // Killed, it may lose what it had acknowledged by itself: its persistence is a file that it writes now and then.
  stopped('Mosquitto', behindMosquitto, mosquitto),
  frozen('Mosquitto', behindMosquitto, mosquitto),
  failover,
  slowDisk,
  fullDisk,
  farSide('answers 503', { status: 503 }),
  farSide('breaks connections off', (response) => response.destroy()),
  farSideSlow,
  clockSteps,
]

/** Throws where there is none of that name. */
export function faultNamed(name: string): Fault {
  const fault = catalog.find((one) => one.name === name)
  if (fault === undefined) throw new RangeError(`no fault is called "${name}"`)
  return fault
}
