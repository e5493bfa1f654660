import { equal } from 'node:assert/strict'
import { suite, test } from 'node:test'
import { faultNamed } from './catalog.ts'
import { type Scenario, isFine, nameOf, runScenario } from './scenario.ts'
import type { Verdict } from './verdict.ts'
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

// Mostly they wait, so two at a time.
suite('nothing acknowledged is unaccounted for', { concurrency: 2 }, () => {
  for (const each of scenarios) {
    const skip = each.setting.smallDisk && !isRoot && 'only root may mount a small disk'
    test(nameOf(each), { timeout: 170_000, skip }, async () => {
      const { verdict, output } = await runScenario(each)
      equal(isFine(verdict), true, `${JSON.stringify(verdict, undefined, 1)}\n${output}`)
    })
  }
})

test('a run is not fine where a message is missing, the ledger is uneven, or nothing was acknowledged', () => {
  const fine: Verdict = { acknowledged: 2, missing: { hook: [], archive: [] }, dead: 0, again: 0, uneven: [] }
  equal(isFine(fine), true)
  equal(isFine({ ...fine, missing: { hook: [7], archive: [] } }), false)
  equal(isFine({ ...fine, missing: { hook: [], archive: [7] } }), false)
  equal(isFine({ ...fine, uneven: ['it does not close'] }), false)
  equal(isFine({ ...fine, acknowledged: 0 }), false)
})

function scenario(door: Setting['door'], queue: Setting['queue'], names: readonly (readonly string[])[]): Scenario {
  const has = (text: string) => names.flat().some((name) => name.includes(text))
  return {
    seed: 1,
    setting: { door, queue, smallDisk: has('disk is full'), ownClock: has('clock') },
    steps: names.map((pair) => pair.map(faultNamed)),
  }
}
