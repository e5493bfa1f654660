import type { Path } from './path.ts'

/**
 * Where in a configuration a value that comes from a reference is no secret, though references are mostly there for secrets. Everything
 * else is one. A name that is taken for a secret does harm too: it vanishes from every line of the log, and is the worker's that the line
 * is about.
 */

/** Keys of sluice.yaml that have folders, addresses, numbers and choices. */
const openKeys: ReadonlySet<string> = new Set([
  'data',
  'rules',
  'workers',
  'identity',
  'listen',
  'broker',
  'limits',
  'arn',
  'shutdown',
  'log',
])

/** Whether no value at this path of sluice.yaml is a secret. */
export function isOpenPath([key]: Path): boolean {
  return openKeys.has(String(key))
}

/** A part of a text, from an offset up to another, and which values are no secret there. */
export interface OpenPart {
  readonly from: number
  readonly to: number
  readonly isOpen: (value: string) => boolean
}

/** Schemes of addresses whose hosts are known to whoever sees the network. HTTP is not among them: some services have a token there. */
const schemes = /^(?:redis|rediss|redis\+sentinel|rediss\+sentinel|mqtt|mqtts):\/\//

/**
 * The parts of an address of Redis or an MQTT broker that are no secret: the host and what follows; and the user of Redis, a name in its
 * ACL, where a password follows. (Some MQTT brokers take a device's token for the user.) A value that brings an `@` or a second `:` along
 * brings a password along. `isInside` says of an offset whether a reference stands there, whose own `:` and `@` are not the address'.
 */
export function openPartsOf(text: string, isInside: (offset: number) => boolean): readonly OpenPart[] {
  const start = schemes.exec(text)?.[0].length
  if (start === undefined) return []
  const offsets = (sign: string) =>
    [...text.matchAll(new RegExp(sign, 'g'))].map(({ index }) => index).filter((at) => at >= start && !isInside(at))
  // The last one: a password may be written with an "@" in it, and whoever reads the address takes what is before the last for it.
  const at = offsets('@').at(-1)
  const host = { from: at ?? start, to: text.length, isOpen: (value: string) => !value.includes('@') }
  const [colon] = offsets(':')
  const hasUser = text.startsWith('redis') && colon !== undefined && at !== undefined && colon < at - 1
  return hasUser ? [{ from: start, to: colon, isOpen: (value) => !/[@:]/.test(value) }, host] : [host]
}
