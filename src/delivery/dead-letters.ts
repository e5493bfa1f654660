import type { Entry, EntryError, Failure, FailureKind } from '../core/envelope.ts'
import type { Properties } from '../core/message.ts'
import type { NewJob, QueueName, Queues, StoredJob } from '../core/queue.ts'
import { tallyOf } from '../core/tally.ts'
import { fromWire, type Wire } from '../core/wire.ts'
import { deadLetterId } from './ids.ts'
import { isFailure } from './readable.ts'

/** Which dead letters; what is left out is not looked at. */
export interface DeadLetterFilter {
  /** A worker, `rule:<name>` or `bridge:<name>`. */
  readonly owner?: string
  readonly rule?: string
  readonly kind?: FailureKind
  /** Given up before this time, in milliseconds since 1970. */
  readonly before?: number
}

/** One line of a list. */
export interface DeadLetterLine {
  readonly id: string
  readonly owner: string
  readonly kind: FailureKind
  readonly reason: string
  /** When it was given up. */
  readonly at: number
  /** The message's id: what its publisher was answered, and what `trace` takes. */
  readonly traceId: string
  /** What its publisher calls it, behind who that is; absent where it said nothing. */
  readonly publisherId?: string
  readonly acceptedAt: number
  readonly rule: string
  readonly topic: string
  readonly principal: string
  readonly thing?: string
  readonly attempts: number
  readonly bytes: number
}

/** Bytes for people: as text where they are text. */
export type Shown = { readonly text: string } | { readonly base64: string }

/** Everything that is kept of one. */
export interface DeadLetter extends DeadLetterLine {
  /** The payload as it came; absent where the worker does not keep it. */
  readonly original?: Shown
  /** What `select` made and would have gone out. */
  readonly output?: Shown
  readonly with?: Readonly<Record<string, unknown>>
  readonly properties?: Properties
  readonly qos: number
  readonly clientId?: string
  readonly sourceIp?: string
  readonly errors: readonly EntryError[]
}

export interface DeadLetterList {
  readonly letters: readonly DeadLetterLine[]
  /** Where to go on; absent at the end. Its form is nobody's business. */
  readonly next?: string
}

/** A dead letter as it was found in a queue. */
export interface FoundLetter {
  readonly queue: QueueName
  readonly id: string
  readonly data: Failure
}

/** Most lines of one list: enough for a screen many times over, little enough for one answer. */
export const maxListed = 1_000

/** Letters read from the queue at once, and letters looked at for one list; a filter that fits nothing must not read them all. */
const pageSize = 250
const maxLookedAt = 5_000

export interface DeadLetterReader {
  /** Owner by owner, each oldest first: at most `limit`, behind `from` of the list before. */
  list(filter: DeadLetterFilter, options?: { readonly limit?: number; readonly from?: string }): Promise<DeadLetterList>
  show(id: string): Promise<DeadLetter | undefined>
  find(id: string): Promise<FoundLetter | undefined>
  /** In order. */
  owners(filter?: DeadLetterFilter): Promise<readonly string[]>
}

/** Reads dead letters where they are; takes nothing away. */
export function createDeadLetterReader(queues: Queues): DeadLetterReader {
  return { list, show, find, owners }

  async function list(
    filter: DeadLetterFilter,
    options: { readonly limit?: number; readonly from?: string } = {},
  ): Promise<DeadLetterList> {
    const limit = Math.min(Math.max(1, options.limit ?? 100), maxListed)
    const begin = parseCursor(options.from)
    const letters: DeadLetterLine[] = []
    let lookedAt = 0
    for (const owner of await owners(filter)) {
      if (begin !== undefined && owner < begin.owner) continue
      const queue = deadOf(owner)
      let from = owner === begin?.owner ? begin.from : undefined
      for (;;) {
        const page = await queues.page<Failure>(queue, from, pageSize)
        if (page.length === 0) break
        for (const job of page) {
          if (letters.length >= limit || lookedAt >= maxLookedAt) return { letters, next: `${from ?? ''}/${owner}` }
          from = job.cursor
          lookedAt += 1
          if (fits(job, filter)) letters.push(lineOf(owner, job))
        }
      }
    }
    return { letters }
  }

  async function show(id: string): Promise<DeadLetter | undefined> {
    const found = await find(id)
    if (found === undefined) return undefined
    const { entry } = found.data
    return {
      ...lineOf(found.queue.owner, { id: found.id, data: found.data, at: 0 }),
      qos: entry.qos,
      errors: entry.errors ?? [],
      ...(entry.in !== undefined && { original: shown(entry.in) }),
      ...(entry.out !== undefined && { output: shown(entry.out) }),
      ...(entry.with !== undefined && { with: entry.with }),
      ...(entry.properties !== undefined && { properties: entry.properties }),
      ...(entry.clientId !== undefined && { clientId: entry.clientId }),
      ...(entry.sourceIp !== undefined && { sourceIp: entry.sourceIp }),
    }
  }

  async function find(id: string): Promise<FoundLetter | undefined> {
    for (const owner of await owners()) {
      const queue = deadOf(owner)
      const job = await queues.get<Failure>(queue, id)
      if (job !== undefined && isFailure(job.data)) return { queue, id, data: job.data }
    }
    return undefined
  }

  async function owners(filter: DeadLetterFilter = {}): Promise<readonly string[]> {
    if (filter.owner !== undefined) return [filter.owner]
    return [...(await queues.owners())].sort((a, b) => (a < b ? -1 : 1))
  }
}

/** The queue of an owner's dead letters. */
export function deadOf(owner: string): QueueName {
  return { owner, part: 'dead' }
}

/** A dead letter on its way into the queue of its owner, with its entry in the ledger. */
export function deadLetterJob(data: Failure, id: string = deadLetterId(data)): NewJob {
  return { id, data, entering: { tally: tallyOf([data.entry], 'dead') } }
}

/** Whether a stored job is a dead letter that the filter takes. */
export function fits({ data }: StoredJob<Failure>, { rule, kind, before }: DeadLetterFilter): boolean {
  if (!isFailure(data)) return false
  if (rule !== undefined && data.entry.rule !== rule) return false
  if (kind !== undefined && data.kind !== kind) return false
  return before === undefined || data.at < before
}

function lineOf(owner: string, { id, data }: StoredJob<Failure>): DeadLetterLine {
  const { kind, reason, at, entry } = data
  return {
    id,
    owner,
    kind,
    reason,
    at,
    traceId: entry.id,
    acceptedAt: entry.at,
    rule: entry.rule,
    topic: entry.topic,
    principal: entry.principal,
    attempts: entry.attempts,
    bytes: bytesOf(entry),
    ...(entry.publisherId !== undefined && { publisherId: entry.publisherId }),
    ...(entry.thing !== undefined && { thing: entry.thing }),
  }
}

function bytesOf(entry: Entry): number {
  const wire = entry.in ?? entry.out ?? ''
  return typeof wire === 'string' ? Buffer.byteLength(wire) : fromWire(wire).length
}

function shown(wire: Wire): Shown {
  return typeof wire === 'string' ? { text: wire } : { base64: wire.base64 }
}

/** `<cursor of the last that was looked at>/<owner>`; anything else begins at the beginning. */
function parseCursor(text = ''): { readonly owner: string; readonly from: string | undefined } | undefined {
  const slash = text.indexOf('/')
  if (slash === -1) return undefined
  return { owner: text.slice(slash + 1), from: slash === 0 ? undefined : text.slice(0, slash) }
}
