import { createHash } from 'node:crypto'
import type { SendMessageBatchRequestEntry } from '@aws-sdk/client-sqs'
import { z } from 'zod'
import type { Item } from '../core/forwarder.ts'
import { textOf } from '../core/wire.ts'

/** Bytes of one message with its attributes, and of all messages of a request together (API_SendMessageBatch). */
export const sqsBytes = 1_048_576

/** Characters that XML 1.0 has, and so SQS (API_SendMessage, MessageBody). */
const forbidden = /[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/u

/** Letters, digits and ASCII punctuation, at most 128: what group and deduplication ids may hold (API_SendMessage). */
const idPattern = /^[\x21-\x7e]{1,128}$/

/** API_SendMessage, MessageAttribute: no dot at the ends or twice in a row, and two prefixes that are AWS's own. */
const attributeName = /^(?!aws\.|amazon\.)(?!.*\.\.)(?!\.)[\w.-]{1,256}(?<!\.)$/i

const mostAttributes = 10

const text = z
  .string()
  .min(1, 'must not be empty')
  .refine((value) => value.isWellFormed() && !forbidden.test(value), 'holds a character that SQS does not take')

/** What a rule's action may say about its messages. */
export const sqsWith = z.strictObject({
  /** FIFO: messages of one group stay in order; the thing, or else the principal, by default. Standard: fair queues. */
  messageGroupId: z.string().min(1).exactOptional(),
  /** FIFO only. By default the message's own key, which is the same through retries, crashes and replays. */
  messageDeduplicationId: z.string().min(1).exactOptional(),
  /** Sends the payload as base64: for payloads that are not text. */
  useBase64: z.boolean().default(false),
  /** Standard only: seconds until the message can be received. A template gives them as text. */
  delaySeconds: z
    .union([z.number(), z.string().regex(/^\d+$/, 'must be a whole number of seconds').transform(Number)])
    .pipe(z.int().min(0).max(900))
    .exactOptional(),
  /** Message attributes: text as `String`, numbers as `Number`; at most ten. */
  attributes: z
    .record(z.string(), z.union([text, z.number()]))
    .superRefine((attributes, context) => {
      const names = Object.keys(attributes)
      for (const name of names) {
        if (attributeName.test(name)) continue
        context.addIssue({ code: 'custom', path: [name], message: 'is not an attribute name that SQS takes' })
      }
      if (names.length <= mostAttributes) return
      context.addIssue({ code: 'custom', message: `must have at most ${mostAttributes} attributes` })
    })
    .exactOptional(),
})

export type SqsItem = Item<z.output<typeof sqsWith>>

/** An entry without its place in the request, and its size as SQS counts it; or why SQS would never take it. */
export type SqsEntry =
  | { readonly entry: Omit<SendMessageBatchRequestEntry, 'Id'>; readonly bytes: number }
  | { readonly refused: string }

/** Makes an entry of SendMessageBatch from an item, or says what is wrong with it. */
export function sqsEntry(item: SqsItem, fifo: boolean): SqsEntry {
  const options = item.with
  if (fifo && options.delaySeconds !== undefined) {
    return { refused: 'a FIFO queue takes no delay of single messages; set it on the queue and leave out delaySeconds' }
  }
  if (!fifo && options.messageDeduplicationId !== undefined) {
    return { refused: 'only a FIFO queue takes a messageDeduplicationId' }
  }
  const body = bodyOf(item)
  if (typeof body !== 'string') return body

  const attributes = Object.entries(options.attributes ?? {})
  const bytes =
    Buffer.byteLength(body) + attributes.reduce((sum, [name, value]) => sum + attributeBytes(name, value), 0)
  if (bytes > sqsBytes) return { refused: `the message has ${bytes} bytes, and SQS takes at most ${sqsBytes}` }

  const group = options.messageGroupId ?? (fifo ? (item.thing ?? item.principal) : undefined)
  return {
    bytes,
    entry: {
      MessageBody: body,
      ...(group !== undefined && { MessageGroupId: fitting(group) }),
      ...(fifo && { MessageDeduplicationId: fitting(options.messageDeduplicationId ?? item.key) }),
      ...(options.delaySeconds !== undefined && { DelaySeconds: options.delaySeconds }),
      ...(attributes.length > 0 && {
        MessageAttributes: Object.fromEntries(
          attributes.map(([name, value]) => [name, { DataType: typeOf(value), StringValue: String(value) }]),
        ),
      }),
    },
  }
}

function bodyOf({ payload, with: { useBase64 } }: SqsItem): string | { readonly refused: string } {
  if (payload.length === 0) return { refused: 'the payload is empty, and SQS takes no empty message' }
  if (useBase64) return payload.toString('base64')
  const body = textOf(payload)
  if (body === undefined) return { refused: 'the payload is not UTF-8 text; set useBase64: true to send such payloads' }
  const found = forbidden.exec(body)
  if (found === null) return body
  const character = `U+${(found[0].codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}`
  return {
    refused: `the payload holds ${character}, which SQS does not take; set useBase64: true to send such payloads`,
  }
}

/** An id that SQS takes: the text itself, or its hash, which is as good for telling equal from different. */
function fitting(id: string): string {
  return idPattern.test(id) ? id : createHash('sha256').update(id).digest('hex')
}

function typeOf(value: string | number): 'String' | 'Number' {
  return typeof value === 'number' ? 'Number' : 'String'
}

/** Name, type and value count towards the size of a message. */
function attributeBytes(name: string, value: string | number): number {
  return Buffer.byteLength(name) + typeOf(value).length + Buffer.byteLength(String(value))
}
