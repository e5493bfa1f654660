import { createServer, type Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import type { TlsFacts } from '../../core/access.ts'
import { messageOf, SluiceError } from '../../core/errors.ts'
import type { Log } from '../../core/log.ts'
import type { Metrics } from '../../core/metrics.ts'
import { failedToListen } from '../listen-error.ts'
import { addressOf, listenOn } from '../listen-on.ts'
import { createPacedLog } from '../../core/paced-log.ts'
import { sourceIpOf } from '../source-ip.ts'
import { failureOf, type TlsFailure, unrecognizedName } from './failure.ts'
import { defaultTlsLimits, type TlsLimits } from './limits.ts'
import { expiredIn, type TlsMaterial } from './material.ts'
import { type Opening, readOpening } from './opening.ts'
import { createSites, type FindSite, type Site } from './sites.ts'

/** What a connection goes on to speak: MQTT, or HTTP and WebSockets. */
export type InnerProtocol = 'mqtt' | 'http'

export interface TlsFrontOptions {
  /** As errors and logs name the listener: `listen.https`. */
  readonly setting: string
  /** What is spoken where ALPN says nothing. */
  readonly protocol: InnerProtocol
  /** Whether a load balancer stands in front, which begins every connection with a PROXY header. */
  readonly proxyProtocol: boolean
  /** Whether clients are asked for a certificate. They needn't have one, and any is taken: identity/ judges them. */
  readonly clientCertificates: boolean
  /** Reads what is served; see `readTlsMaterial`. */
  readonly material: () => Promise<TlsMaterial>
  readonly limits?: Partial<TlsLimits>
  readonly log: Log
  readonly metrics: Metrics
  /** Takes over a connection whose handshake is done; from here on the socket, and its errors, are the door's. */
  onConnection(kind: InnerProtocol, socket: TLSSocket, facts: ConnectionFacts): void
}

/** What is known of a connection when its handshake is done. */
export interface ConnectionFacts {
  readonly tls: TlsFacts
  /** The far end, or the client that the load balancer names. */
  readonly sourceIp?: string
}

export interface TlsFront {
  /**
   * Reads the certificates and listens. Throws SluiceError LISTEN_FAILED: what is wrong with which file, or with the address.
   * `port: 0` takes a free one.
   */
  listen(where: { readonly host: string; readonly port: number }): Promise<void>
  /** Where it listens; undefined before `listen` and after `close`. */
  address(): { readonly host: string; readonly port: number } | undefined
  /**
   * Reads certificates and keys again. New connections get the new ones; those that are there go on. Where anything is wrong, all
   * stays as it was, the log says why, and it throws SluiceError CONFIG_INVALID.
   */
  reload(): Promise<void>
  /** Absolute paths of the certificates and keys in force: those to watch for `reload`. */
  files(): readonly string[]
  /** Takes no more connections, ends those that are not through, waits for the others; cuts what is left after `deadlineMs`. */
  close(deadlineMs?: number): Promise<void>
}

/** What ALPN says (aws-security §1). `mqtt` is MQTT with a custom authorizer: identity/ sees the name in the facts. */
const spokenBy: ReadonlyMap<string, InnerProtocol> = new Map([
  ['mqtt', 'mqtt'],
  ['x-amzn-mqtt-ca', 'mqtt'],
  ['x-amzn-http-ca', 'http'],
  ['http/1.1', 'http'],
])

/** One connection on its way through. `over`: it is through, or has failed. */
interface Arrival {
  readonly socket: Socket
  readonly timer: NodeJS.Timeout
  stage: 'greeting' | 'waiting' | 'handshake' | 'over'
  sourceIp: string | undefined
  serverName?: string
  site?: Site
}

/**
 * The TLS front of a listener: reads a PROXY header where there is one, peeks at the ClientHello, lets the tls.Server of that
 * server name do the handshake, and hands the connection to the door that ALPN asks for. Strangers are bounded in bytes, time
 * and number.
 */
export function createTlsFront(options: TlsFrontOptions): TlsFront {
  const { setting, log, metrics } = options
  const limits = { ...defaultTlsLimits, ...options.limits }
  const strangers = createPacedLog(log)
  const arrivals = new WeakMap<Socket, Arrival>()
  /** Not in a handshake yet, the oldest first. */
  const greetings = new Set<Arrival>()
  /** Those of them that have said their ClientHello and wait for their turn. */
  const waiting = new Set<Arrival>()
  /** Every socket that is open, whatever it does. */
  const sockets = new Set<Socket>()
  let handshakes = 0
  let closing = false
  let material: TlsMaterial | undefined
  let siteOf: FindSite = () => undefined
  let reloading: Promise<void> = Promise.resolve()

  const server = createServer({ noDelay: true, keepAlive: true, keepAliveInitialDelay: 60_000 }, arrive)
  server.maxConnections = limits.connections
  server.on('error', (error) => {
    // Before it listens, `listen` says so.
    if (server.listening) log.error({ setting, error: messageOf(error) }, 'a connection could not be taken')
  })
  server.on('drop', () => refused('full', 'no room for another connection', {}))

  function arrive(socket: Socket): void {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => left(socket))
    if (closing) return void socket.destroy()
    const arrival: Arrival = {
      socket,
      timer: setTimeout(
        () => fail(arrival, 'timeout', `no handshake within ${limits.handshakeMs} ms`),
        limits.handshakeMs,
      ),
      stage: 'greeting',
      sourceIp: sourceIpOf(socket.remoteAddress),
    }
    arrivals.set(socket, arrival)
    greetings.add(arrival)
    // The oldest, because an honest one is through in no time: those who sit here and wait can't keep others out.
    if (greetings.size > limits.greetings) {
      const [oldest] = greetings
      if (oldest !== undefined) fail(oldest, 'full', 'too many connections without a handshake')
    }
    readOpening(socket, { proxyProtocol: options.proxyProtocol, helloBytes: limits.helloBytes }, (opening) =>
      opened(arrival, opening),
    )
  }

  function opened(arrival: Arrival, opening: Opening): void {
    if (arrival.stage !== 'greeting') return
    if (opening.kind === 'silent') {
      over(arrival)
      return void arrival.socket.destroy()
    }
    if (opening.kind === 'refused') return fail(arrival, opening.reason, opening.detail)
    if (opening.source !== undefined) arrival.sourceIp = sourceIpOf(opening.source)
    if (opening.serverName !== undefined) arrival.serverName = opening.serverName
    const site = siteOf(opening.serverName)
    if (site === undefined) {
      const detail = opening.serverName === undefined ? 'no server name' : 'not a name of ours'
      return fail(arrival, 'server-name', detail, unrecognizedName)
    }
    arrival.site = site
    arrival.stage = 'waiting'
    waiting.add(arrival)
    next()
  }

  /** Lets those who wait begin their handshakes, as many as there is room for. */
  function next(): void {
    for (const arrival of waiting) {
      if (handshakes >= limits.handshakes) return
      waiting.delete(arrival)
      greetings.delete(arrival)
      arrival.stage = 'handshake'
      handshakes += 1
      arrival.site?.server.emit('connection', arrival.socket)
    }
  }

  function secured(socket: TLSSocket, site: Site): void {
    const arrival = arrivalOf(socket)
    if (arrival === undefined || arrival.stage !== 'handshake' || closing) return void socket.destroy()
    // What was routed by must be what OpenSSL has seen; its own name is empty where there was none.
    const seen = (socket as TLSSocket & { servername?: string | false }).servername || undefined
    if (seen?.toLowerCase() !== arrival.serverName) return fail(arrival, 'hello', 'two server names')
    over(arrival)
    const alpn = socket.alpnProtocol === false || socket.alpnProtocol === null ? undefined : socket.alpnProtocol
    const kind = alpn === undefined ? options.protocol : spokenBy.get(alpn)
    if (kind === undefined) return void socket.destroy()
    socket.on('error', () => {})
    try {
      options.onConnection(kind, socket, {
        tls: {
          ...(arrival.serverName !== undefined && { serverName: arrival.serverName }),
          ...(alpn !== undefined && { alpn }),
          ...(options.clientCertificates && certificatesOf(socket)),
          ...(site.authorizer !== undefined && { authorizer: site.authorizer }),
        },
        ...(arrival.sourceIp !== undefined && { sourceIp: arrival.sourceIp }),
      })
    } catch (error) {
      log.error({ setting, error: messageOf(error) }, 'a door did not take a connection')
      socket.destroy()
    }
  }

  function handshakeFailed(error: Error, socket: TLSSocket): void {
    const arrival = arrivalOf(socket)
    if (arrival === undefined) return void socket.destroy()
    const { reason, detail } = failureOf(error)
    fail(arrival, reason, detail)
  }

  function arrivalOf(socket: TLSSocket): Arrival | undefined {
    // Node has no public way from a TLSSocket to the socket below; without this one nobody would get in.
    const { _parent: below } = socket as TLSSocket & { readonly _parent?: Socket }
    return below === undefined ? undefined : arrivals.get(below)
  }

  /** `alert` is for a socket on which nothing has been written yet, so that it never waits for a far side that doesn't read. */
  function fail(arrival: Arrival, reason: TlsFailure, detail: string, alert?: Buffer): void {
    if (arrival.stage === 'over') return
    const { socket, sourceIp, serverName } = arrival
    over(arrival)
    if (alert === undefined) socket.destroy()
    else socket.end(alert, () => socket.destroy())
    refused(reason, detail, {
      ...(sourceIp !== undefined && { sourceIp }),
      ...(serverName !== undefined && { serverName }),
    })
  }

  function refused(reason: TlsFailure, detail: string, facts: { sourceIp?: string; serverName?: string }): void {
    metrics.count('sluice_tls_handshakes_failed_total', { reason })
    strangers.warn(reason, { setting, reason, detail, ...facts }, 'a TLS connection was not taken')
  }

  /** Gives back everything that a connection held while it was on its way. */
  function over(arrival: Arrival): void {
    const { stage } = arrival
    if (stage === 'over') return
    arrival.stage = 'over'
    clearTimeout(arrival.timer)
    greetings.delete(arrival)
    waiting.delete(arrival)
    if (stage !== 'handshake') return
    handshakes -= 1
    // Not at once: a failure may come while another handshake is being handed over.
    if (waiting.size > 0) setImmediate(next)
  }

  function left(socket: Socket): void {
    sockets.delete(socket)
    const arrival = arrivals.get(socket)
    if (arrival !== undefined && !closing) fail(arrival, 'closed', 'it ended before the handshake did')
    else if (arrival !== undefined) over(arrival)
  }

  async function read(): Promise<{ readonly material: TlsMaterial; readonly find: FindSite }> {
    const found = await options.material()
    const find = createSites(found, {
      clientCertificates: options.clientCertificates,
      handshakeMs: limits.handshakeMs,
      secured,
      failed: handshakeFailed,
    })
    return { material: found, find }
  }

  function putInForce(next: { readonly material: TlsMaterial; readonly find: FindSite }): void {
    material = next.material
    siteOf = next.find
    for (const { file, message } of material.warnings) log.warn({ setting, file }, message)
  }

  async function reload(): Promise<void> {
    try {
      const next = await read()
      const [expired] = expiredIn(next.material)
      // AWS IoT goes on with the last valid certificate (aws-security §15).
      if (expired !== undefined && material !== undefined && expiredIn(material).length === 0) {
        const { setting: where, files } = expired
        throw new SluiceError('CONFIG_INVALID', `${where}.certificate has expired (${files.certificate})`)
      }
      putInForce(next)
      log.info({ setting }, 'certificates are read again; new connections get them')
    } catch (error) {
      log.error({ setting, error: messageOf(error) }, 'certificates stay as they were: the new ones cannot be served')
      if (error instanceof SluiceError) throw error
      throw new SluiceError('CONFIG_INVALID', messageOf(error), { cause: error })
    }
  }

  return {
    async listen({ host, port }) {
      try {
        putInForce(await read())
      } catch (error) {
        throw new SluiceError('LISTEN_FAILED', `${setting}: ${messageOf(error)}`, { cause: error })
      }
      await listenOn(server, host, port).catch(async (error: unknown) => {
        throw await failedToListen(setting, host, port, error)
      })
    },
    address: () => addressOf(server),
    reload() {
      // One after the other: the last one asked for is the one in force.
      const done = reloading.then(reload)
      reloading = done.catch(() => {})
      return done
    },
    files: () => material?.files ?? [],
    async close(deadlineMs = 10_000) {
      closing = true
      const stopped = server.listening ? new Promise((resolve) => server.close(resolve)) : Promise.resolve()
      for (const socket of sockets) if (arrivals.get(socket)?.stage !== 'over') socket.destroy()
      const cut = setTimeout(() => {
        for (const socket of sockets) socket.destroy()
      }, deadlineMs)
      await stopped.finally(() => clearTimeout(cut))
    },
  }
}

/** The client's certificate and the others that it sent, in its order. Once only: reading takes the others out of OpenSSL's hands. */
function certificatesOf(socket: TLSSocket): Pick<TlsFacts, 'certificate' | 'chain'> {
  const own = socket.getPeerX509Certificate()
  if (own === undefined) return {}
  const chain: Buffer[] = []
  for (let issuer = own.issuerCertificate; issuer !== undefined; issuer = issuer.issuerCertificate)
    chain.push(issuer.raw)
  return { certificate: own.raw, chain }
}
