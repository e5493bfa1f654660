/** So many messages of a rule, and what they are counted as: how they came in, or what became of them. */
export type TallyLine = readonly [rule: string, what: string, messages: number]

/** Messages counted by rule. Lines and not an object, because a rule may have any name. It is JSON. */
export type Tally = readonly TallyLine[]

/** How messages come into a queue. `before`: they were in it before the ledger was begun. */
export type Arrival = 'accepted' | 'error-action' | 'replayed' | 'given-up' | 'dead' | 'before'

/**
 * What becomes of the messages of a queue. Of work: `delivered`, `given-up`. Of failures: `error-action` (a rule's error
 * actions have them), `dead` (they are dead letters). Of dead letters: `replayed`, `purged`. Of any: `dropped:<reason>`.
 */
export type Fate = 'delivered' | 'given-up' | 'error-action' | 'dead' | 'replayed' | 'purged' | Dropped

/** Dropped because a limit that was set by name says so. */
export type Dropped = `dropped:${string}`

/** Adds tallies up. */
export class Tallying {
  readonly #rules = new Map<string, Map<string, number>>()

  add(rule: string, what: string, messages = 1): this {
    if (messages === 0) return this
    let line = this.#rules.get(rule)
    if (line === undefined) this.#rules.set(rule, (line = new Map<string, number>()))
    line.set(what, (line.get(what) ?? 0) + messages)
    return this
  }

  addAll(tally: Tally): this {
    for (const [rule, what, messages] of tally) this.add(rule, what, messages)
    return this
  }

  /** Messages of a rule, of one kind or of all. */
  of(rule: string, what?: string): number {
    const line = this.#rules.get(rule)
    if (line === undefined) return 0
    return what === undefined ? sumOf(line.values()) : (line.get(what) ?? 0)
  }

  rules(): Iterable<string> {
    return this.#rules.keys()
  }

  lines(): Tally {
    return [...this.#rules].flatMap(([rule, line]) =>
      [...line].map(([what, messages]) => [rule, what, messages] as const),
    )
  }
}

/** Counts things of rules, all as the same. */
export function tallyOf(counted: readonly { readonly rule: string }[], what: Arrival | Fate): Tally {
  const [first] = counted
  // The usual case by far: a message alone, or many of one rule.
  if (first !== undefined && counted.every(({ rule }) => rule === first.rule))
    return [[first.rule, what, counted.length]]
  const tallying = new Tallying()
  for (const { rule } of counted) tallying.add(rule, what)
  return tallying.lines()
}

/** Both together. */
export function sumOfTallies(a: Tally, b: Tally): Tally {
  if (a.length === 0) return b
  return b.length === 0 ? a : new Tallying().addAll(a).addAll(b).lines()
}

/** Messages in all. */
export function messagesIn(tally: Tally): number {
  return sumOf(tally.map(([, , messages]) => messages))
}

/** Lines beyond this are no envelope's: what is read was written by a worker, and a worker is not trusted with our memory. */
const maxLines = 4_096

/** A tally out of JSON that another process wrote; undefined where it is none. */
export function readTally(value: unknown): Tally | undefined {
  if (!Array.isArray(value) || value.length > maxLines) return undefined
  return value.every(isLine) ? value : undefined
}

function isLine(value: unknown): value is TallyLine {
  if (!Array.isArray(value) || value.length !== 3) return false
  const [rule, what, messages] = value as readonly unknown[]
  return typeof rule === 'string' && typeof what === 'string' && Number.isSafeInteger(messages) && Number(messages) >= 0
}

function sumOf(numbers: Iterable<number>): number {
  let sum = 0
  for (const number of numbers) sum += number
  return sum
}
