/** What one principal may publish over time (AWS IoT: 100 publishes/s and 512 KiB/s per connection). */
export interface PublishRate {
  readonly publishesPerSecond: number
  readonly bytesPerSecond: number
}

/**
 * How long a principal may be kept from publishing by what it has sent in one request, in seconds. A client that is told to
 * come back in a minute does; one that is told to come back tomorrow has lost what it wanted to say until then.
 */
const longestDebt = 60

/** The most that one request may bring: what the rates make up for within that time. More would never have come in, or never again. */
export function mostTogether({ publishesPerSecond, bytesPerSecond }: PublishRate): {
  readonly messages: number
  readonly bytes: number
} {
  return {
    messages: Math.max(1, Math.floor(publishesPerSecond * longestDebt)),
    bytes: Math.floor(bytesPerSecond * longestDebt),
  }
}
