import { type Envelope, type Entry, envelopeVersion, type Failure, type FailureBatch } from '../core/envelope.ts'
import { readTally } from '../core/tally.ts'

/**
 * What a queue holds was written by another process, perhaps another version, perhaps (a queue is shared ground) by
 * somebody else. These say whether it can be read at all; what can't is left where it is, not thrown away.
 */
export function isEnvelope(data: unknown): data is Envelope {
  return isReadable(data) && Array.isArray(data['entries']) && data['entries'].every(isEntry) && isLeft(data['left'])
}

export function isFailureBatch(data: unknown): data is FailureBatch {
  return (
    isReadable(data) && Array.isArray(data['failures']) && data['failures'].every(isFailure) && isLeft(data['left'])
  )
}

export function isFailure(data: unknown): data is Failure {
  return isReadable(data) && typeof data['kind'] === 'string' && isText(data['reason']) && isEntry(data['entry'])
}

/** Why it can't be read, for the log. */
export function complaintAbout(data: unknown): string {
  const version = isRecord(data) ? data['v'] : undefined
  if (typeof version !== 'number') return 'it is not of a form that Sluice writes'
  if (isReadable(data)) return 'a part of it is missing'
  return `it has version ${version}, and this Sluice reads ${envelopeVersion} and the one before`
}

function isReadable(data: unknown): data is Record<string, unknown> {
  return isRecord(data) && (data['v'] === envelopeVersion || data['v'] === envelopeVersion - 1)
}

function isEntry(data: unknown): data is Entry {
  if (!isRecord(data)) return false
  const texts = isText(data['id']) && isText(data['rule']) && isText(data['topic']) && isText(data['principal'])
  const numbers = Number.isFinite(data['at']) && Number.isInteger(data['action']) && Number.isInteger(data['attempts'])
  const errors = data['errors'] === undefined || Array.isArray(data['errors'])
  const own = data['publisherId'] === undefined || isText(data['publisherId'])
  return texts && numbers && errors && own && isWire(data['in']) && isWire(data['out'])
}

function isLeft(data: unknown): boolean {
  return data === undefined || readTally(data) !== undefined
}

function isWire(data: unknown): boolean {
  return data === undefined || isText(data) || (isRecord(data) && isText(data['base64']))
}

function isText(data: unknown): data is string {
  return typeof data === 'string'
}

function isRecord(data: unknown): data is Record<string, unknown> {
  return typeof data === 'object' && data !== null
}
