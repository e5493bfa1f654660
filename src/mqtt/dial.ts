import type { Socket } from 'node:net'
import { setMaxListeners } from 'node:events'
import { SluiceError } from '../core/errors.ts'
import { type BrokerAddress, parseBrokerUrl } from './address.ts'
import { Connection, type ConnectionHandlers } from './connection.ts'
import { ClosedUnansweredError, type ConnectFields, shakeHands } from './handshake.ts'
import type { MqttVersion } from './packet-type.ts'
import { BrokerRefusedError } from './refusal.ts'
import { openSocket, type TlsSettings } from './socket.ts'

export interface DialOptions extends ConnectFields {
  readonly url: string
  readonly tls?: TlsSettings
  /**
   * Most bytes of a packet that are kept; 256 KiB by default: twice AWS IoT's payload limit, which leaves room for topic
   * and properties. A longer PUBLISH comes without its payload, marked `oversize`. At least 128 KiB.
   */
  readonly maximumPacketSize?: number
  /** From the first step to CONNACK; 15 s by default, since a broker that loads a large store answers late. */
  readonly connectTimeoutMs?: number
}

/** Connects to one broker, again and again, and remembers which version of MQTT it speaks. */
export interface Dialer {
  /**
   * One try: MQTT 5, then 3.1.1 where the broker refuses MQTT 5 or closes without a word. Throws BrokerRefusedError (it said no, or
   * TLS did), otherwise SluiceError BROKER_AWAY. `fields` replace what the options say.
   */
  dial(handlers: ConnectionHandlers, signal: AbortSignal, fields?: Partial<ConnectFields>): Promise<Connection>
}

const defaultPacketSize = 256 * 1024
/** A topic may have 64 KiB and is needed even of a packet that is too large. */
const leastPacketSize = 128 * 1024

/** Throws SluiceError WRONG_USE when the url is none of a broker. */
export function createDialer(options: DialOptions): Dialer {
  const address = parseBrokerUrl(options.url)
  let versions: readonly MqttVersion[] = [5, 4]

  return {
    async dial(handlers, signal, fields = {}) {
      let unanswered: ClosedUnansweredError | undefined
      for (const version of versions) {
        try {
          return await tryVersion(address, { ...options, ...fields }, version, handlers, signal)
        } catch (error) {
          const last = version === versions.at(-1)
          if (error instanceof BrokerRefusedError && error.kind === 'version' && !last) {
            versions = [4] // It said so itself; no need to ask again.
          } else if (error instanceof ClosedUnansweredError && !last) {
            // Perhaps it is an old broker, perhaps one that was just stopped: MQTT 5 is tried again the next time.
            unanswered = error
          } else {
            throw error
          }
        }
      }
      throw unanswered ?? new SluiceError('BROKER_AWAY')
    },
  }
}

async function tryVersion(
  address: BrokerAddress,
  options: DialOptions,
  version: MqttVersion,
  handlers: ConnectionHandlers,
  signal: AbortSignal,
): Promise<Connection> {
  const timeoutMs = options.connectTimeoutMs ?? 15_000
  const timeout = AbortSignal.timeout(timeoutMs)
  const either = AbortSignal.any([signal, timeout])
  setMaxListeners(0, either)
  let socket: Socket | undefined
  try {
    socket = await openSocket(address, options.tls ?? {}, either)
    const connack = await shakeHands(socket, options, version, either)
    return new Connection(socket, {
      version,
      clientId: connack.properties?.assignedClientIdentifier ?? options.clientId,
      maximumPacketSize: Math.max(options.maximumPacketSize ?? defaultPacketSize, leastPacketSize),
      keepaliveMs: options.keepaliveMs,
      connack,
      handlers,
    })
  } catch (error) {
    socket?.destroy()
    if (timeout.aborted && !signal.aborted) {
      const text = `the broker at ${address.host}:${address.port} did not answer within ${timeoutMs} ms`
      throw new SluiceError('BROKER_AWAY', text, { cause: error })
    }
    throw error
  }
}
