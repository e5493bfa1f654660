import { connect, isIP, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { messageOf, SluiceError } from '../core/errors.ts'
import type { BrokerAddress } from './address.ts'
import { BrokerRefusedError } from './refusal.ts'

/** PEM texts, and the name to check the broker's certificate for where the address has another. */
export interface TlsSettings {
  /** Trusted instead of the system's authorities. */
  readonly ca?: string
  readonly certificate?: string
  readonly key?: string
  readonly servername?: string
}

/** Seconds of silence after which the kernel asks whether the far side is still there: it does so while we don't read, too. */
const tcpKeepaliveMs = 60_000

/**
 * Opens a TCP or TLS connection, paused. Throws SluiceError BROKER_AWAY when nothing answers, BrokerRefusedError when the
 * broker's certificate is not trusted or a certificate or key of ours can't be used. Aborting destroys the socket.
 */
export function openSocket(address: BrokerAddress, tls: TlsSettings, signal: AbortSignal): Promise<Socket> {
  const where = `${address.host}:${address.port}`
  return new Promise((resolve, reject) => {
    let socket: Socket
    try {
      signal.throwIfAborted()
      socket = address.tls ? secure(address, tls) : connect({ host: address.host, port: address.port })
    } catch (error) {
      return reject(signal.aborted ? away(where, signal.reason) : refused(where, error))
    }
    const settle = (): void => {
      signal.removeEventListener('abort', onAbort)
      socket.off('error', onError)
    }
    const onError = (error: Error): void => {
      settle()
      socket.destroy()
      reject(isDistrust(error) ? refused(where, error) : away(where, error))
    }
    const onAbort = (): void => {
      // The listener stays until an error has been told, or it would be an uncaught one.
      socket.destroy(new Error(messageOf(signal.reason)))
    }
    signal.addEventListener('abort', onAbort, { once: true })
    socket.once('error', onError)
    socket.once(address.tls ? 'secureConnect' : 'connect', () => {
      settle()
      // Whoever reads the socket listens for errors; between two readers there must be somebody too.
      socket.on('error', () => {})
      socket.setNoDelay()
      socket.setKeepAlive(true, tcpKeepaliveMs)
      resolve(socket)
    })
  })
}

function secure(address: BrokerAddress, tls: TlsSettings): Socket {
  const servername = tls.servername ?? (isIP(address.host) === 0 ? address.host : undefined)
  return connectTls({
    host: address.host,
    port: address.port,
    minVersion: 'TLSv1.2',
    ...(servername !== undefined && { servername }),
    ...(tls.ca !== undefined && { ca: tls.ca }),
    ...(tls.certificate !== undefined && { cert: tls.certificate }),
    ...(tls.key !== undefined && { key: tls.key }),
  })
}

/** Node's and OpenSSL's codes for a certificate that isn't trusted, and alerts by which the far side says so of ours. */
const distrust =
  /^(?:CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|ERR_TLS_CERT_|INVALID_CA|HOSTNAME_MISMATCH|ERR_OSSL_|ERR_SSL_.*(?:CERT|UNKNOWN_CA|ACCESS_DENIED|HANDSHAKE_FAILURE))/

function isDistrust(error: Error & { readonly code?: unknown }): boolean {
  return typeof error.code === 'string' && distrust.test(error.code)
}

function refused(where: string, error: unknown): BrokerRefusedError {
  const text = `no TLS connection with the broker at ${where}: ${messageOf(error)}`
  return new BrokerRefusedError(text, 'credential', undefined, { cause: error })
}

function away(where: string, error: unknown): SluiceError {
  const text = `the broker at ${where} can't be reached: ${messageOf(error)}`
  return new SluiceError('BROKER_AWAY', text, { cause: error })
}
