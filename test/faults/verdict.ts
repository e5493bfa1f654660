import type { LedgerReport } from '../../src/delivery/ledger-report.ts'
import { ended } from '../support/command.ts'
import { sluice } from '../support/sluice.ts'
import type { World } from './world.ts'

/** What has become of the acknowledged messages, each of which goes to two workers. */
export interface Verdict {
  readonly acknowledged: number
  /** Numbers that neither arrived at a worker's far side nor are its dead letters. */
  readonly missing: { readonly hook: readonly number[]; readonly archive: readonly number[] }
  readonly dead: number
  /** How often the far side took a message once more. */
  readonly again: number
  /** Lines of the ledger that don't come out even. */
  readonly uneven: readonly string[]
}

/** Looks until nothing is missing, or it has waited for `ms`. */
export async function judge(world: World, acknowledged: ReadonlySet<number>, ms: number): Promise<Verdict> {
  const end = Date.now() + ms
  for (;;) {
    const verdict = await look(world, acknowledged)
    const isFine = verdict.missing.hook.length + verdict.missing.archive.length + verdict.uneven.length === 0
    if (isFine || Date.now() > end) return verdict
    await new Promise((resolve) => setTimeout(resolve, 500))
  }
}

async function look(world: World, acknowledged: ReadonlySet<number>): Promise<Verdict> {
  const { taken } = world.farSide
  const archived = await world.archived()
  // An evaluation that was frozen for longer than it may take has failed: then the message is a letter of the rule.
  const [hook, archive, rule] = [
    await deadOf(world, 'hook'),
    await deadOf(world, 'archive'),
    await deadOf(world, 'rule:all'),
  ]
  const dead = { hook: hook.union(rule), archive: archive.union(rule) }
  const all = [...acknowledged]
  return {
    acknowledged: acknowledged.size,
    missing: {
      hook: all.filter((n) => !taken.has(n) && !dead.hook.has(n)),
      archive: all.filter((n) => !archived.has(n) && !dead.archive.has(n)),
    },
    dead: dead.hook.size + dead.archive.size,
    again: [...taken.values()].reduce((sum, times) => sum + times - 1, 0),
    uneven: await unevenLines(world, acknowledged.size),
  }
}

/** Numbers of the messages that are an owner's dead letters; the topic ends with the number. */
async function deadOf(world: World, worker: string): Promise<Set<number>> {
  const { letters } = (await asked(world, ['dead-letters', 'ls', '--worker', worker, '--json'])) as {
    letters: readonly { topic: string }[]
  }
  return new Set(letters.map(({ topic }) => Number(topic.split('/').at(-1))))
}

/** What the ledger finds missing or too much, and where it says less than was acknowledged. */
async function unevenLines(world: World, acknowledged: number): Promise<readonly string[]> {
  const { closed, rows, problems } = (await asked(world, ['ledger', '--json'])) as LedgerReport
  const uneven = rows.filter(({ difference, pending }) => difference !== 0 || pending !== 0)
  const entered = (worker: string) => rows.find((row) => row.rule === 'all' && row.worker === worker)?.accepted ?? 0
  const short = ['hook', 'archive'].filter((worker) => entered(worker) < acknowledged)
  return [
    ...(closed ? [] : ['it does not close']),
    ...[...uneven, ...problems].map((found) => JSON.stringify(found)),
    ...short.map((worker) => `${acknowledged} were acknowledged, and ${entered(worker)} entered for ${worker}`),
  ]
}

/** What a command answers; asked again while nobody serves the control socket. */
async function asked(world: World, parameters: readonly string[]): Promise<unknown> {
  for (let left = 20; ; left -= 1) {
    const { stdout, stderr } = await ended(sluice(world.scope, world.config, parameters))
    // A ledger that doesn't close is an answer too, and exits with 1.
    if (stdout.startsWith('{')) return JSON.parse(stdout)
    if (left === 0) throw new Error(`sluice ${parameters.join(' ')}: ${stdout}${stderr}`)
    await new Promise((resolve) => setTimeout(resolve, 500))
  }
}
