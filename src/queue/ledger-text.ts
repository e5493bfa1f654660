import { type Leaving, type LedgerTotals, type OpenEntry, sides, type TotalLine } from '../core/ledger.ts'
import { parsedJson } from '../core/parsed-json.ts'
import { type Fate, readTally, type Tally } from '../core/tally.ts'

/** What is written of a job that is removed. */
export function leavingOf(became: Fate | Tally): Leaving {
  return typeof became === 'string' ? { all: became } : { tally: became, at: Date.now() }
}

/** What is written of a job that is about to leave, as it stands in the store. */
export function leavingText(leaving: Leaving): string {
  return JSON.stringify(leaving)
}

/** An entry as it stands in the store: `<number>:<tally>`. Nothing where it is no such thing. */
export function openEntryOf(id: string, text: string | null | undefined): OpenEntry[] {
  const colon = text?.indexOf(':') ?? -1
  const tally = text == null ? undefined : readTally(parsedJson(text.slice(colon + 1)))
  return tally === undefined || text == null ? [] : [{ id, number: Number(text.slice(0, colon)), tally }]
}

/** Sums by their field, which is side, rule and what as a JSON list. The same field may be spelled in two ways. */
export function totalsOf(sums: Readonly<Record<string, string>>, lastNumber: number): LedgerTotals {
  const lines = Object.entries(sums).flatMap(([field, text]): TotalLine[] => {
    const [side, rule, what] = (parsedJson(field) ?? []) as readonly unknown[]
    const known = sides.find((each) => each === side)
    if (known === undefined || typeof rule !== 'string' || typeof what !== 'string') return []
    return [{ side: known, rule, what, messages: Number(text) }]
  })
  return { lines, lastNumber }
}
