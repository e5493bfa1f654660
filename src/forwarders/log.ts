import { z } from 'zod'
import { defineForwarder, type Item } from '../core/forwarder.ts'
import { delivered } from '../core/outcome.ts'
import { bytes } from '../core/units.ts'
import { visible } from './text.ts'

/** The kind `log`: for trying out, and for the few messages that a person should see where Sluice's own lines are read. */
export const log = defineForwarder({
  kind: 'log',
  summary: "Writes each message as one line to Sluice's own log.",
  credentials: [],
  settings: z.strictObject({
    /** How much of a payload is shown: a log is for reading, and some logs cost by the byte. */
    preview: bytes('2KiB').refine((size) => size <= 65_536, 'must be at most 64KiB'),
  }),
  with: z.strictObject({}),
  limits: { messages: 256, bytes: 1_048_576 },
  async open({ preview }, context) {
    return {
      async send(batch) {
        for (const item of batch) context.log.info(factsOf(item, preview), 'message')
        return batch.map(() => delivered)
      },
      async close() {},
    }
  },
})

function factsOf(item: Item, preview: number): Readonly<Record<string, unknown>> {
  const { id, rule, topic, principal, thing, payload } = item
  return {
    id,
    rule,
    topic: visible(topic),
    principal,
    ...(thing !== undefined && { thing }),
    bytes: payload.length,
    ...previewOf(payload, preview),
  }
}

/** The beginning of a payload as text, or as base64 where it is none. */
function previewOf(payload: Buffer, most: number): Readonly<Record<string, unknown>> {
  const beginning = payload.subarray(0, most)
  const cut = beginning.length < payload.length && { cut: true }
  try {
    // `stream` leaves out a character that the cut went through.
    const text = new TextDecoder('utf-8', { fatal: true }).decode(beginning, { stream: true })
    return { payload: visible(text), ...cut }
  } catch {
    return { base64: beginning.toString('base64'), ...cut }
  }
}
