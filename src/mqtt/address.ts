import { SluiceError } from '../core/errors.ts'

/** Where a broker listens. */
export interface BrokerAddress {
  readonly host: string
  readonly port: number
  readonly tls: boolean
}

/** Schemes of a broker's address and whether they mean TLS. `mqtt` and `mqtts` are ours, the others are what mosquitto's and Paho's tools write. */
const schemes: ReadonlyMap<string, boolean> = new Map([
  ['mqtt:', false],
  ['tcp:', false],
  ['mqtts:', true],
  ['ssl:', true],
  ['tls:', true],
])

/** Ports that IANA has registered for MQTT without and with TLS. */
const ports = { plain: 1883, tls: 8883 } as const

/** What is wrong with a broker's address, for the one who wrote it; undefined when it is fine. Never quotes a password. */
export function complainAboutBrokerUrl(text: string): string | undefined {
  const url = URL.parse(text)
  if (url === null || !schemes.has(url.protocol) || url.hostname === '') {
    return 'must be the address of a broker: mqtt://host:1883 or mqtts://host:8883'
  }
  if (url.username !== '' || url.password !== '')
    return 'must not hold a user or password; those belong in a credential'
  if (!/^\/?$/.test(url.pathname) || url.search !== '' || url.hash !== '') return 'must end with the port'
  return undefined
}

/** Takes a broker's address apart. Throws SluiceError WRONG_USE where `complainAboutBrokerUrl` has something to say. */
export function parseBrokerUrl(text: string): BrokerAddress {
  const complaint = complainAboutBrokerUrl(text)
  const url = URL.parse(text)
  if (complaint !== undefined || url === null) throw new SluiceError('WRONG_USE', `the broker's url ${complaint}`)
  const tls = schemes.get(url.protocol) === true
  const port = url.port === '' ? ports[tls ? 'tls' : 'plain'] : Number(url.port)
  return { host: url.hostname.replace(/^\[(.*)\]$/, '$1'), port, tls }
}
