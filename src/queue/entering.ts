import type { Entry } from '../core/envelope.ts'
import type { Entering, NumberRange } from '../core/ledger.ts'
import { Tallying } from '../core/tally.ts'

/** An entry with the number that it was given when it was accepted. */
export interface Numbered {
  readonly entry: Entry
  readonly number: number
}

/** Gives the deliveries of each worker and rule running numbers from 0, before anything puts them into envelopes. */
export class Numbers {
  readonly #next = new Map<string, Map<string, number>>()

  take(worker: string, rule: string): number {
    let rules = this.#next.get(worker)
    if (rules === undefined) this.#next.set(worker, (rules = new Map<string, number>()))
    const number = rules.get(rule) ?? 0
    rules.set(rule, number + 1)
    return number
  }
}

/**
 * What an envelope brings into its queue. Its messages are counted, and the numbers they were given are told: where the same one
 * stands in two envelopes, or twice in one, the store finds it.
 */
export function enteringOf(series: string, entries: readonly Numbered[]): Entering {
  const tallying = new Tallying()
  const ranges: NumberRange[] = []
  const places = new Map<string, number>()
  for (const { entry, number } of entries) {
    const { rule } = entry
    tallying.add(rule, entry.error === true ? 'error-action' : 'accepted')
    const place = places.get(rule)
    const range = place === undefined ? undefined : ranges[place]
    if (place !== undefined && range?.[2] === number - 1) ranges[place] = [rule, range[1], number]
    else places.set(rule, ranges.push([rule, number, number]) - 1)
  }
  return { tally: tallying.lines(), numbers: { series, ranges } }
}
