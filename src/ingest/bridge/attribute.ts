import type { Publish } from '../../core/access.ts'
import { messageOf } from '../../core/errors.ts'
import { publisherIdOf } from '../../core/id.ts'
import type { Properties } from '../../core/message.ts'
import type { BridgeSettings, FromPublish } from './settings.ts'

/** A message with the thing and the id that the bridge finds in it, or why nobody can say whose it is. */
export type Attributed = { readonly publish: Publish } | { readonly because: string }

type Found = { readonly text: string | undefined } | { readonly because: string }

/**
 * Adds to what the broker sent who it is from, and its publisher's id. Never throws; a promise only where a template needs one.
 * A wish about an id never costs the message: what can't be had is left out, what is no id as it stands is hashed.
 */
export function attribute(
  publish: Publish,
  { thing, id }: Pick<BridgeSettings, 'thing' | 'id'>,
): Attributed | Promise<Attributed> {
  const foundThing = thing === undefined ? undefined : thingOf(publish, thing)
  const foundId = id === undefined ? undefined : textFrom(publish, id, 'id')
  if (!(foundThing instanceof Promise) && !(foundId instanceof Promise)) return withNames(publish, foundThing, foundId)
  return Promise.all([foundThing, foundId]).then(([named, own]) => withNames(publish, named, own))
}

function withNames(publish: Publish, thing: Found | undefined, id: Found | undefined): Attributed {
  if (thing !== undefined && 'because' in thing) return thing
  const own = id === undefined || 'because' in id ? '' : (id.text ?? '')
  if (thing === undefined && own === '') return { publish }
  return {
    publish: {
      ...publish,
      ...(thing?.text !== undefined && { thing: thing.text }),
      ...(own !== '' && { id: publisherIdOf(own) }),
    },
  }
}

/**
 * A message whose thing can't be told is refused. Taken as the bridge's own it would escape the policies of its thing, and all a
 * device had to do was to leave its name out.
 */
function thingOf(publish: Publish, thing: NonNullable<BridgeSettings['thing']>): Found | Promise<Found> {
  if (typeof thing !== 'function') return propertyOf(publish.properties, thing.property)
  const found = textFrom(publish, thing, 'thing')
  return found instanceof Promise ? found.then(required) : required(found)
}

function required(found: Found): Found {
  if ('because' in found || (found.text !== undefined && found.text !== '')) return found
  return { because: 'the message does not say which thing it is from' }
}

/** A name that occurs twice is nobody's: one of the two may have been put there by somebody else. */
function propertyOf(properties: Properties | undefined, name: string): Found {
  const [first, second] = (properties?.userProperties ?? []).filter(([own]) => own === name)
  if (second !== undefined) return { because: `the user property ${name} occurs more than once` }
  if (first === undefined || first[1] === '')
    return { because: `there is no user property ${name} that names the thing` }
  return { text: first[1] }
}

function textFrom(publish: Publish, make: FromPublish, what: 'thing' | 'id'): Found | Promise<Found> {
  const failed = (error: unknown): Found => ({ because: `${what} failed on the message: ${messageOf(error)}` })
  try {
    const text = make(publish)
    return text instanceof Promise ? text.then((own) => ({ text: own }), failed) : { text }
  } catch (error) {
    return failed(error)
  }
}
