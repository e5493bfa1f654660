import type { Scope } from '../support/cleanup.ts'
import { catalog, type Fault } from './catalog.ts'
import { startLoad, tryDoor } from './doors.ts'
import { createRandom } from './random.ts'
import { judge, type Verdict } from './verdict.ts'
import { type Setting, startWorld } from './world.ts'

/** One run: a world, the faults that strike it one after the other or two at once, and the seed of everything that is left to chance. */
export interface Scenario {
  readonly seed: number
  readonly setting: Setting
  /** What strikes: in each step one fault, or a pair at the same time. */
  readonly steps: readonly (readonly Fault[])[]
}

export interface Outcome {
  readonly verdict: Verdict
  /** What the processes printed, for whoever looks into it. */
  readonly output: string
}

const doors = ['bridge', 'broker', 'http'] as const
const queues = ['redis', 'replicated', 'embedded'] as const

/** Chooses a scenario; the same for the same seed. `wanted`: names or parts of names of faults, doors or queues. */
export function scenarioOf(seed: number, wanted: readonly string[] = []): Scenario {
  const random = createRandom(seed)
  const among = <T extends string>(list: readonly T[]): T => {
    const named = list.filter((name) => wanted.includes(name))
    return random.pick(named.length > 0 ? named : list)
  }
  const [door, queue] = [among(doors), among(queues)]
  const base = { door, queue, smallDisk: true, ownClock: true }
  const fitting = catalog.filter((fault) => fault.fits(base))
  const named = fitting.filter(({ name }) => wanted.some((text) => name.includes(text)))
  const pickFault = () => random.pick(named.length > 0 ? named : fitting)
  const steps = Array.from({ length: 2 }, () =>
    pairOf(pickFault(), random.between(0, 2) === 0 ? pickFault() : undefined),
  )
  const all = steps.flat()
  const needs = (text: string) => all.some(({ name }) => name.includes(text))
  return { seed, steps, setting: { door, queue, smallDisk: needs('disk is full'), ownClock: needs('clock') } }
}

function pairOf(one: Fault, other: Fault | undefined): readonly Fault[] {
  return other === undefined || other === one ? [one] : [one, other]
}

/** `bridge, redis: Redis is killed + the disk is slow, then ingest is stopped (seed 7)` */
export function nameOf({ seed, setting, steps }: Scenario): string {
  const struck = steps.map((faults) => faults.map(({ name }) => name).join(' + ')).join(', then ')
  return `${setting.door}, ${setting.queue}: ${struck} (seed ${seed})`
}

/** Runs it: load all the while, faults with a breath before and after, then peace until everything has come out or `patienceMs` has passed. */
export async function runScenario(scenario: Scenario, patienceMs = 60_000): Promise<Outcome> {
  const acts: (() => unknown)[] = []
  try {
    return await runIn({ after: (act) => void acts.push(act as () => unknown) }, scenario, patienceMs)
  } finally {
    // Backwards: processes end before their folders go.
    for (const act of acts.toReversed()) await act()
  }
}

async function runIn(scope: Scope, scenario: Scenario, patienceMs: number): Promise<Outcome> {
  const random = createRandom(scenario.seed + 1)
  const world = await startWorld(scope, scenario.setting)
  await tryDoor(scope, scenario.setting.door, world.port, async () => (await world.archived()).size > 0)
  const load = startLoad(scope, scenario.setting.door, world.port, random)
  for (const faults of scenario.steps) {
    await pause(random.between(500, 1_500))
    await Promise.all(faults.map((fault) => strike(fault)))
  }
  await pause(1_000)
  await load.stop(20_000)
  const verdict = await judge(world, load.acknowledged, patienceMs)
  await world.close()
  return { verdict, output: world.output() }

  async function strike(fault: Fault): Promise<void> {
    // Two of a pair never begin at the very same moment, and which is first is left to chance.
    await pause(random.between(0, 1_000))
    await fault.strike(world, random)
  }
}

/** Whether nothing acknowledged is unaccounted for. */
export function isFine({ acknowledged, missing, uneven }: Verdict): boolean {
  return acknowledged > 0 && missing.hook.length + missing.archive.length + uneven.length === 0
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
