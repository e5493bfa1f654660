/** Every error that Sluice itself raises, by code. A code is never reused for another meaning. */
const table = {
  CONFIG_INVALID: 'the configuration has problems',
  EXPRESSION_INVALID: 'an expression does not parse',
  EXPRESSION_FAILED: 'an expression failed',
  LIMIT_EXCEEDED: 'a limit was exceeded',
  LISTEN_FAILED: 'an address could not be listened on',
  MESSAGE_REFUSED: 'a door refused the message',
  NOT_RUNNING: 'no running Sluice answers',
  QUEUE_AWAY: 'the queue cannot be reached',
  QUEUE_FULL: 'there is no room for more',
  QUEUE_CORRUPT: 'the embedded queue cannot be opened',
  QUEUE_HELD: 'the embedded queue is held by another process',
  QUEUE_UNSAFE: 'the queue may lose acknowledged messages',
  BROKER_AWAY: 'the broker cannot be reached',
  BROKER_REFUSED: 'the broker refused us',
  CREDENTIAL_FAILED: 'a credential could not be obtained',
  REFERENCE_MISSING: 'a reference has no value',
  TAKEN_OVER: 'another client took over the MQTT session',
  WRONG_USE: 'wrong use',
} as const

export type ErrorCode = keyof typeof table

/** An error with a code from the table, a sentence that says what happened and what to do, and the cause if there is one. */
export class SluiceError extends Error {
  override readonly name = 'SluiceError'
  readonly code: ErrorCode
  constructor(code: ErrorCode, message: string = table[code], options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

/** QUEUE_AWAY. `inDoubt`: something was sent before it failed, so a part may be stored and be delivered all the same. */
export class QueueAwayError extends SluiceError {
  readonly inDoubt: boolean
  constructor(message: string, inDoubt: boolean, options?: ErrorOptions) {
    super('QUEUE_AWAY', message, options)
    this.inDoubt = inDoubt
  }
}

/** The text of anything that was thrown: jsonata throws plain objects, some libraries throw strings. */
export function messageOf(thrown: unknown): string {
  if (thrown instanceof AggregateError && thrown.message === '') return thrown.errors.map(messageOf).join('; ')
  if (thrown instanceof Error) return thrown.message
  if (typeof thrown === 'object' && thrown !== null && 'message' in thrown) return String(thrown.message)
  return String(thrown)
}
