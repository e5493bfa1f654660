import type { z } from 'zod'
import { deduplicationKey, type Entry } from '../core/envelope.ts'
import type { Item } from '../core/forwarder.ts'
import { fromWire } from '../core/wire.ts'

/** An item for the forwarder, and which entry of the envelope it is. */
export interface Prepared {
  readonly index: number
  readonly item: Item
}

/** An entry whose options the forwarder's schema does not take: it never will, so nothing is sent. */
export interface Unfit {
  readonly index: number
  readonly reason: string
}

type With = Readonly<Record<string, unknown>>

/** Makes items of those entries of an envelope that `indexes` names, the worker's defaults under each one's own options. */
export function prepareItems(
  entries: readonly Entry[],
  indexes: readonly number[],
  defaults: With,
  schema: z.ZodType<With>,
): { readonly items: readonly Prepared[]; readonly unfit: readonly Unfit[] } {
  const items: Prepared[] = []
  const unfit: Unfit[] = []
  for (const index of indexes) {
    const entry = entries[index]
    if (entry === undefined) continue
    const checked = schema.safeParse({ ...defaults, ...entry.with })
    if (checked.success) items.push({ index, item: itemOf(entry, checked.data) })
    else unfit.push({ index, reason: complaintOf(checked.error) })
  }
  return { items, unfit }
}

/**
 * Cuts items into batches within a forwarder's limits, in order. An item over the byte limit goes alone: whether it is
 * too large is for the forwarder to say.
 */
export function cutBatches(
  items: readonly Prepared[],
  limits: { readonly messages: number; readonly bytes: number },
): readonly (readonly Prepared[])[] {
  const batches: Prepared[][] = []
  let batch: Prepared[] = []
  let bytes = 0
  for (const prepared of items) {
    const size = prepared.item.payload.length
    if (batch.length > 0 && (batch.length >= limits.messages || bytes + size > limits.bytes)) {
      batches.push(batch)
      batch = []
      bytes = 0
    }
    batch.push(prepared)
    bytes += size
  }
  if (batch.length > 0) batches.push(batch)
  return batches
}

function itemOf(entry: Entry, options: With): Item {
  const { id, topic, qos, rule, principal, at } = entry
  return {
    id,
    key: deduplicationKey(entry),
    payload: fromWire(entry.out ?? entry.in ?? ''),
    selected: entry.out !== undefined,
    topic,
    qos,
    retain: entry.retain === true,
    rule,
    principal,
    at,
    with: options,
    ...(entry.properties !== undefined && { properties: entry.properties }),
    ...(entry.thing !== undefined && { thing: entry.thing }),
    ...(entry.clientId !== undefined && { clientId: entry.clientId }),
  }
}

function complaintOf(error: z.ZodError): string {
  return error.issues.map((issue) => `${['with', ...issue.path.map(String)].join('.')}: ${issue.message}`).join('; ')
}
