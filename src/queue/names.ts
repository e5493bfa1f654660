import { SluiceError } from '../core/errors.ts'
import type { QueueName } from '../core/queue.ts'

/** What BullMQ is told about a queue. */
export interface BullName {
  /** Unique by itself: Postgres has no prefix. */
  readonly name: string
  /** Redis' key prefix; its braces are the hash tag that keeps all queues of one owner on one node. */
  readonly prefix: string
}

const suffixes = { work: '', failures: '.failures', dead: '.dead' } as const

/** The queue's name in the store. An owner of letters, digits, `_` and `-` stands there as it is. */
export function bullNameOf(queue: QueueName): BullName {
  const owner = encodeName(queue.owner)
  return { name: owner + suffixes[queue.part], prefix: `{sluice:${owner}}` }
}

/** The queue that has this name in the store. */
export function queueOfName(name: string): QueueName {
  const dot = name.indexOf('.')
  const owner = decodeName(dot === -1 ? name : name.slice(0, dot))
  const part = name.slice(dot + 1)
  return { owner, part: dot === -1 ? 'work' : part === 'dead' ? 'dead' : 'failures' }
}

/**
 * Any text as letters, digits, `_`, `-` and `%XX`: no `:` (BullMQ refuses it in names and ids), no `.` (it sets off the
 * part of a queue), no `*` or brace (they mean something in a Redis ACL and in a hash tag).
 */
export function encodeName(text: string): string {
  if (!text.isWellFormed()) throw new SluiceError('WRONG_USE', 'a name in the queue must be well-formed Unicode')
  return encodeURIComponent(text).replace(/[.!~*'()]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)
}

export function decodeName(encoded: string): string {
  return decodeURIComponent(encoded)
}

/** The keys of a queue that are there while it has jobs. */
const queueKey = /^\{sluice:(?<owner>[^{}:]+)\}:(?<name>[^:]+):(?:wait|active|delayed)$/

/** The encoded owner of a key in Redis that belongs to a queue with jobs; undefined for every other key. */
export function ownerOfKey(key: string): string | undefined {
  const { owner, name } = queueKey.exec(key)?.groups ?? {}
  if (owner === undefined || name === undefined || !/^(?:[\w-]|%[0-9A-F]{2})+$/.test(owner)) return undefined
  return Object.values(suffixes).some((suffix) => name === owner + suffix) ? owner : undefined
}

/**
 * A job id as BullMQ may have it. Redis keeps a job under `<queue>:<id>`, beside `<queue>:wait` and the like, and BullMQ
 * takes digits for an id of its own making: an id that is not plainly one of ours (letters and digits both) is escaped.
 */
export function encodeId(id: string): string {
  const plain = /^[\w-]+$/.test(id) && /\d/.test(id) && /[A-Za-z]/.test(id)
  return plain ? id : `~${encodeName(id)}`
}

export function decodeId(encoded: string): string {
  return encoded.startsWith('~') ? decodeName(encoded.slice(1)) : encoded
}
