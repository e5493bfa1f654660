// Strikes a running Sluice with faults, for as long as one likes, and says what became of every acknowledged message.
//
//   node test/faults/run.ts [--minutes N] [--seed N] [--keep-going] [WORD…]
//
// A word narrows what is chosen: a door (bridge, broker, http), a queue (redis, embedded), or part of a fault's name ("slow", "Redis is killed").
import { writeFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { isFine, nameOf, runScenario, scenarioOf } from './scenario.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    minutes: { type: 'string', default: '10' },
    seed: { type: 'string' },
    'keep-going': { type: 'boolean', default: false },
  },
})
const first = Number(values.seed ?? Date.now() % 1_000_000)
const end = Date.now() + Number(values.minutes) * 60_000
let failed = 0
for (let seed = first; Date.now() < end; seed += 1) {
  const scenario = scenarioOf(seed, positionals)
  console.log(nameOf(scenario))
  try {
    const { verdict, output } = await runScenario(scenario)
    const { acknowledged, missing, dead, again, uneven } = verdict
    const lost = missing.hook.length + missing.archive.length
    console.log(`  ${acknowledged} acknowledged, ${lost} missing, ${dead} dead letters, ${again} came again`)
    for (const line of uneven) console.log(`  ledger: ${line}`)
    if (!isFine(verdict)) {
      failed += 1
      await writeFile(`faults-${seed}.log`, `${JSON.stringify(verdict)}\n${output}`)
      console.log(`  FAILED; what the processes printed is in faults-${seed}.log`)
    }
  } catch (error) {
    failed += 1
    console.log(`  FAILED: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`)
  }
  if (failed > 0 && !values['keep-going']) break
}
process.exitCode = failed > 0 ? 1 : 0
