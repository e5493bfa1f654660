import type { Message } from '../core/message.ts'
import { Payload } from './payload.ts'

/** A message as rules look at it: what they ask for is worked out once, and only when they ask. */
export class Subject {
  readonly message: Message
  readonly payload: Payload
  #levels: readonly string[] | undefined
  #bindings: Readonly<Record<string, unknown>> | undefined

  constructor(message: Message) {
    this.message = message
    this.payload = new Payload(message.payload)
  }

  /** The levels of the topic. */
  get levels(): readonly string[] {
    this.#levels ??= this.message.topic.split('/')
    return this.#levels
  }

  /** What an evaluation is given besides its input; functions find the message in it. */
  get bindings(): Readonly<Record<string, unknown>> {
    this.#bindings ??= { [subjectName]: this }
    return this.#bindings
  }
}

/** No expression can spell it. */
export const subjectName = '\0subject'
