import { equal } from 'node:assert/strict'
import { test } from 'node:test'
import { faultNamed } from './catalog.ts'
import { type Scenario, isFine, nameOf, runScenario } from './scenario.ts'
import type { Setting } from './world.ts'

// One run for each door and kind of queue, in which every fault of the catalog strikes once, alone or beside another. Longer, and with
// chances of its own: `npm run test:faults`.

const scenarios: readonly Scenario[] = [
  scenario('bridge', 'redis', [
    ['Redis is killed', 'the disk is slow'],
    ['Mosquitto is stopped', 'ingest is killed'],
  ]),
  scenario('bridge', 'embedded', [['Mosquitto is frozen', 'sluice is stopped'], ['the far side is slow']]),
  scenario('broker', 'redis', [
    ['Redis is frozen', 'the worker is killed'],
    ['the clock steps', 'Redis is stopped'],
  ]),
  scenario('broker', 'embedded', [['sluice is killed', 'the disk is slow'], ['the clock steps']]),
  scenario('http', 'redis', [
    ['the disk is full', 'the far side answers 503'],
    ['ingest is frozen', 'the worker is stopped'],
  ]),
  scenario('http', 'embedded', [['the disk is full'], ['the far side breaks connections off', 'sluice is killed']]),
  scenario('http', 'replicated', [['Redis fails over'], ['ingest is stopped', 'the worker is frozen']]),
]

// Only root may mount the disk that is filled.
const isRoot = process.getuid?.() === 0

for (const each of scenarios) {
  const skip = each.setting.smallDisk && !isRoot && 'only root may mount a small disk'
  test(nameOf(each), { timeout: 170_000, skip }, async () => {
    const { verdict, output } = await runScenario(each)
    equal(isFine(verdict), true, `${JSON.stringify(verdict, undefined, 1)}\n${output}`)
  })
}

function scenario(door: Setting['door'], queue: Setting['queue'], names: readonly (readonly string[])[]): Scenario {
  const has = (text: string) => names.flat().some((name) => name.includes(text))
  return {
    seed: 1,
    setting: { door, queue, smallDisk: has('disk is full'), ownClock: has('clock') },
    steps: names.map((pair) => pair.map(faultNamed)),
  }
}
