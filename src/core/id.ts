import * as crypto from 'node:crypto'

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
