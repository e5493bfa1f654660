import { kindOfOwner } from '../core/owner.ts'
import type { Tallying } from '../core/tally.ts'
import type { LedgerProblem, Station } from './station.ts'

/** Messages of one rule on their way to one worker, all of them: `in` = `out` + `pending` + `difference`. */
export interface LedgerRow {
  readonly rule: string
  /** A worker, or whose dead letters they are: `rule:<name>` of a rule that failed, `bridge:<name>` of a bridge. */
  readonly worker: string
  /** Deliveries acknowledged: one for each message and action. */
  readonly accepted: number
  /** Deliveries that error actions made of messages that others gave up. */
  readonly errorActions: number
  /** Put back by an operator. */
  readonly replayed: number
  /** They were there before the ledger was begun. */
  readonly before: number
  /** Given up once more because a process died between giving up and saying so; what came of it is counted below. */
  readonly repeated: number
  readonly delivered: number
  /** Given up, and taken by the rule's error actions. */
  readonly toErrorActions: number
  /** Dead letters that are there. */
  readonly dead: number
  /** Dead letters that were put back. */
  readonly deadReplayed: number
  readonly purged: number
  /** Dropped by limits that were set by name, by reason. */
  readonly dropped: Readonly<Record<string, number>>
  /** Waiting for the worker or for ingest to take what was given up, found in the queues. */
  readonly pending: number
  /** What is missing; negative: what is too much. 0 when everything is accounted for. */
  readonly difference: number
}

export interface LedgerReport {
  /** Milliseconds since 1970. */
  readonly at: number
  /** Whether every message is accounted for. */
  readonly closed: boolean
  readonly rows: readonly LedgerRow[]
  readonly problems: readonly LedgerProblem[]
}

/** The three queues of one owner. */
export interface OwnerStations {
  readonly owner: string
  readonly work: Station
  readonly failures: Station
  readonly dead: Station
  /** How messages came into work, looked at last. */
  readonly arrivals: Tallying
}

/** Adds up what was found. */
export function reportOf(at: number, owners: readonly OwnerStations[]): LedgerReport {
  const rows: LedgerRow[] = []
  const problems: LedgerProblem[] = []
  let closed = true
  for (const stations of owners) {
    const { work, failures, dead } = stations
    problems.push(...work.problems, ...failures.problems, ...dead.problems)
    const rules = new Set(
      [work, failures, dead].flatMap(({ came, went, pending }) =>
        [came, went, pending].flatMap((each) => [...each.rules()]),
      ),
    )
    for (const rule of [...rules].toSorted()) {
      const { row, links, balanced } = rowOf(rule, stations)
      rows.push(row)
      problems.push(...links)
      closed &&= balanced
    }
  }
  return { at, closed: closed && problems.length === 0, rows, problems }
}

function rowOf(rule: string, { owner, work, failures, dead, arrivals }: OwnerStations) {
  const differences = [work, failures, dead].map(
    ({ came, went, pending }) => came.of(rule) - went.of(rule) - pending.of(rule),
  )
  const missing = missingBetween(rule, { owner, work, failures, dead, arrivals })
  const all = (what: string) => [work, failures, dead].reduce((sum, { went }) => sum + went.of(rule, what), 0)
  const first = kindOfOwner(owner) !== 'worker' ? dead : work
  const row: LedgerRow = {
    rule,
    worker: owner,
    accepted: first.came.of(rule, first === dead ? 'dead' : 'accepted'),
    errorActions: work.came.of(rule, 'error-action'),
    replayed: work.came.of(rule, 'replayed'),
    before: [work, failures, dead].reduce((sum, { came }) => sum + came.of(rule, 'before'), 0),
    repeated: first === dead ? 0 : missing.repeated,
    delivered: all('delivered'),
    toErrorActions: failures.went.of(rule, 'error-action'),
    dead: dead.pending.of(rule),
    deadReplayed: dead.went.of(rule, 'replayed'),
    purged: dead.went.of(rule, 'purged'),
    dropped: droppedOf(rule, [work, failures, dead]),
    pending: work.pending.of(rule) + failures.pending.of(rule),
    difference: differences.reduce((sum, each) => sum + each, missing.givenUp + missing.dead),
  }
  const link = (part: LedgerProblem['part'], count: number): LedgerProblem[] =>
    count > 0 ? [{ kind: 'not-handed-over', owner, part, rule, count }] : []
  const links = [...link('work', missing.givenUp), ...link('failures', missing.dead), ...link('dead', missing.replayed)]
  return { row, links, balanced: differences.every((each) => each === 0) && links.length === 0 }
}

/**
 * What left one queue for the next and is not there. More may well have come than left: it goes into the next queue first, and a
 * process that dies in between does it again, perhaps with others.
 */
function missingBetween(rule: string, { owner, work, failures, dead, arrivals }: OwnerStations) {
  if (kindOfOwner(owner) !== 'worker') return { givenUp: 0, dead: 0, replayed: 0, repeated: 0 }
  const givenUp = failures.came.of(rule, 'given-up') - work.went.of(rule, 'given-up')
  const buried = dead.came.of(rule, 'dead') - failures.went.of(rule, 'dead')
  const again = Math.max(0, givenUp)
  return {
    givenUp: Math.max(0, -givenUp),
    // The letter of a message that was given up twice is there once.
    dead: Math.max(0, -buried - again),
    replayed: Math.max(0, dead.went.of(rule, 'replayed') - arrivals.of(rule, 'replayed')),
    repeated: again + Math.max(buried, -again),
  }
}

function droppedOf(rule: string, stations: readonly Station[]): Readonly<Record<string, number>> {
  const dropped: Record<string, number> = {}
  for (const { went } of stations) {
    for (const [of, what, messages] of went.lines()) {
      if (of !== rule || !what.startsWith('dropped:')) continue
      const reason = what.slice('dropped:'.length)
      dropped[reason] = (dropped[reason] ?? 0) + messages
    }
  }
  return dropped
}
