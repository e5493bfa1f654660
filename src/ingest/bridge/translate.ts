import type { Publish } from '../../core/access.ts'
import { messageOf } from '../../core/errors.ts'
import type { Properties } from '../../core/message.ts'
import type { ReceivedPublish } from '../../mqtt/publish.ts'
import type { BridgeSettings, FromPublish } from './settings.ts'

/** What a bridged message becomes, or why it is none. */
export type Translated =
  | { readonly publish: Publish }
  | { readonly refused: 'request' | 'size'; readonly because: string }

/** Makes what a door hands in out of what the broker sent: adds who it is from, and its publisher's id. Never throws. */
export function translate(received: ReceivedPublish, settings: Pick<BridgeSettings, 'thing' | 'id'>): Translated {
  if (received.oversize !== undefined) {
    return { refused: 'size', because: `the packet has ${received.oversize} bytes, more than the bridge keeps` }
  }
  const { topic, payload, qos, retain, properties } = received
  const publish: Publish = { topic, payload, qos, retain, ...(properties !== undefined && { properties }) }
  const thing = settings.thing === undefined ? undefined : thingOf(publish, settings.thing)
  if (thing !== undefined && 'because' in thing) return { refused: 'request', because: thing.because }
  const id = settings.id === undefined ? undefined : textFrom(publish, settings.id, 'id')
  if (id !== undefined && 'because' in id) return { refused: 'request', because: id.because }
  return {
    publish: {
      ...publish,
      ...(thing !== undefined && { thing: thing.text }),
      // A message without an id of its publisher gets one of ours.
      ...(id?.text !== undefined && id.text !== '' && { id: id.text }),
    },
  }
}

/**
 * A message whose thing can't be told is refused. Taken as the bridge's own it would escape the policies of its thing, and all a
 * device had to do was to leave its name out.
 */
function thingOf(
  publish: Publish,
  thing: NonNullable<BridgeSettings['thing']>,
): { text: string } | { because: string } {
  if (typeof thing !== 'function') return propertyOf(publish.properties, thing.property)
  const found = textFrom(publish, thing, 'thing')
  if ('because' in found) return found
  if (found.text === undefined || found.text === '')
    return { because: 'the message does not say which thing it is from' }
  return { text: found.text }
}

/** A name that occurs twice is nobody's: one of the two may have been put there by somebody else. */
function propertyOf(properties: Properties | undefined, name: string): { text: string } | { because: string } {
  const [first, second] = (properties?.userProperties ?? []).filter(([own]) => own === name)
  if (second !== undefined) return { because: `the user property ${name} occurs more than once` }
  if (first === undefined || first[1] === '')
    return { because: `there is no user property ${name} that names the thing` }
  return { text: first[1] }
}

function textFrom(
  publish: Publish,
  make: FromPublish,
  what: 'thing' | 'id',
): { text: string | undefined } | { because: string } {
  try {
    return { text: make(publish) }
  } catch (error) {
    return { because: `${what} failed on the message: ${messageOf(error)}` }
  }
}
