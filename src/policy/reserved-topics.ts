import { unsharedFilter } from '../core/topic.ts'

/** `+` is any one level that isn't empty, `*` any levels or none, `a|b` one of them. */
type Shape = readonly string[]

const shape = (text: string): Shape => text.split('/')

/** What clients may publish to (AWS, "Reserved topics"). */
const publishable: readonly Shape[] = [
  '$aws/rules/+/*',
  '$aws/things/+/shadow/get|update|delete',
  '$aws/things/+/shadow/name/+/get|update|delete',
  '$aws/things/+/jobs/get|start-next',
  '$aws/things/+/jobs/+/get|update',
  '$aws/things/+/streams/+/get|describe/json|cbor',
  '$aws/things/+/defender/metrics/json|cbor',
  '$aws/certificates/create|create-from-csr/json|cbor',
  '$aws/provisioning-templates/+/provision/json|cbor',
].map(shape)

/** What clients may subscribe to: the answers to those, and events. Never `$aws/rules/…`: what is published there goes to rules only. */
const subscribable: readonly Shape[] = [
  '$aws/events/*',
  '$aws/things/+/shadow/get|update|delete',
  '$aws/things/+/shadow/name/+/get|update|delete',
  '$aws/things/+/shadow/get|update|delete/accepted|rejected',
  '$aws/things/+/shadow/name/+/get|update|delete/accepted|rejected',
  '$aws/things/+/shadow/update/delta|documents',
  '$aws/things/+/shadow/name/+/update/delta|documents',
  '$aws/things/+/jobs/notify|notify-next',
  '$aws/things/+/jobs/get|start-next/accepted|rejected',
  '$aws/things/+/jobs/+/get|update/accepted|rejected',
  '$aws/things/+/tunnels/notify',
  '$aws/things/+/streams/+/data|description|rejected/json|cbor',
  '$aws/things/+/defender/metrics/json|cbor/accepted|rejected',
  '$aws/certificates/create|create-from-csr/json|cbor/accepted|rejected',
  '$aws/provisioning-templates/+/provision/json|cbor/accepted|rejected',
].map(shape)

/**
 * Why clients may not publish to this topic, whatever their policies say; undefined where they may. Every topic that
 * begins with `$` is reserved (AWS, "Topics"), and only what the page on reserved topics lets clients publish is open.
 */
export function complainAboutReservedTopic(topic: string): string | undefined {
  if (!topic.startsWith('$')) return undefined
  const levels = topic.split('/')
  if (publishable.some((shape) => topicFits(levels, shape))) return undefined
  return `topics that begin with "$" are reserved, and this one is closed to publishers`
}

/**
 * Why clients may not subscribe to this filter, whatever their policies say; undefined where they may: the filter could match
 * a topic that is open to subscribers. Wildcards in the first level match no `$` topic at all [MQTT-4.7.2-1].
 */
export function complainAboutReservedFilter(filter: string): string | undefined {
  const bare = unsharedFilter(filter)
  if (!bare.startsWith('$')) return undefined
  const levels = bare.split('/')
  if (subscribable.some((shape) => filterMeets(levels, shape))) return undefined
  return `topics that begin with "$" are reserved, and this filter is closed to subscribers`
}

/** Why nobody may publish a retained message there, whatever the policies; undefined where they decide (AWS, "Retained messages"). */
export function complainAboutRetained(topic: string): string | undefined {
  return topic.startsWith('$') ? 'topics that begin with "$" are reserved, and nothing is retained on them' : undefined
}

function topicFits(levels: readonly string[], shape: Shape): boolean {
  for (const [index, wanted] of shape.entries()) {
    if (wanted === '*') return true
    if (!levelFits(levels[index], wanted)) return false
  }
  return levels.length === shape.length
}

function levelFits(level: string | undefined, wanted: string): boolean {
  if (level === undefined || level === '') return false
  return wanted === '+' || wanted.split('|').includes(level)
}

function filterMeets(levels: readonly string[], shape: Shape): boolean {
  for (const [index, wanted] of shape.entries()) {
    const level = levels[index]
    if (wanted === '*' || level === '#') return true
    if (level !== '+' && !levelFits(level, wanted)) return false
  }
  // `a/b/#` matches `a/b` itself.
  return levels.length === shape.length || (levels.length === shape.length + 1 && levels.at(-1) === '#')
}
