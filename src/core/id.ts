import * as crypto from 'node:crypto'
import type { Publish, Principal } from './access.ts'

/**
 * A new message or envelope id: UUIDv7 (RFC 9562), which sorts by time. Node has it since 26.1; on an older one the
 * time goes in front of a random UUID by hand.
 */
export const newId: () => string =
  crypto.randomUUIDv7 ??
  (() => {
    const time = Date.now().toString(16).padStart(12, '0')
    return `${time.slice(0, 8)}-${time.slice(8)}-7${crypto.randomUUID().slice(15)}`
  })

/** What a publisher may use as an id of its own: 1 to 128 visible ASCII characters, no spaces. */
export function isPublisherId(text: string): boolean {
  return /^[\x21-\x7e]{1,128}$/.test(text)
}

/**
 * The id that a publisher's text stands for where there is nobody to tell that it is none: as it is, or hashed. The same text is
 * the same id.
 */
export function publisherIdOf(text: string): string {
  return isPublisherId(text) ? text : `#${crypto.hash('sha256', text)}`
}

/** Beyond this, who speaks stands there as a hash: names of things are as long as a topic may be. */
const longestScope = 256

/**
 * A publisher's own id with those in front whose word it is: the principal, and the thing and client id that it speaks for.
 * Two devices that count up from 1 never mean each other's messages by it, not even behind one bridge. No two ways of
 * choosing the parts make the same text, and none makes an id of Sluice's own: `dev-1/17`, `bridge:plant@dev-1/17`.
 */
export function scopedId(
  principal: Pick<Principal, 'name'>,
  { id, thing, clientId }: Pick<Publish, 'thing' | 'clientId'> & { readonly id: string },
): string {
  const spoken = (mark: string, name: string | undefined): string => (name === undefined ? '' : mark + plain(name))
  const scope = plain(principal.name) + spoken('@', thing) + spoken(',', clientId)
  return `${scope.length <= longestScope ? scope : `#${crypto.hash('sha256', scope)}`}/${id}`
}

/** Keeps what sets the parts apart out of them, one UTF-16 unit at a time: a name need not be well-formed. */
function plain(name: string): string {
  return name.replace(/[^\w:.-]/g, (unit) => `%${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
}
