import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from 'node:tls'
import { promisify } from 'node:util'
import type { Metrics } from '../../../src/core/metrics.ts'
import { type ConnectionFacts, createTlsFront, type TlsFrontOptions } from '../../../src/ingest/tls/front.ts'
import { readTlsMaterial, type TlsSettings } from '../../../src/ingest/tls/material.ts'
import { type Scope, temporaryFolder } from '../../support/cleanup.ts'
import { keepLines } from '../../support/logs.ts'

const exec = promisify(execFile)

/** What keys certificates are made with here. */
const newKey = {
  rsa: ['-newkey', 'rsa:2048'],
  ec: ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'],
} as const

export interface MadeCertificate {
  readonly certificate: string
  readonly key: string
}

/** A folder with an authority (`ca.pem`) that makes certificates; openssl does the work. */
export class Authority {
  readonly folder: string
  readonly #names = new Map<string, number>()

  private constructor(folder: string) {
    this.folder = folder
  }

  static async make(scope: Scope): Promise<Authority> {
    const authority = new Authority(await temporaryFolder(scope))
    const subject = ['-subj', '/CN=Test CA', '-days', '2']
    await authority.openssl('req', '-x509', ...newKey.ec, '-nodes', '-keyout', 'ca.key', '-out', 'ca.pem', ...subject)
    return authority
  }

  openssl(...parameters: string[]): Promise<unknown> {
    return exec('openssl', parameters, { cwd: this.folder })
  }

  path(name: string): string {
    return join(this.folder, name)
  }

  text(name: string): Promise<string> {
    return readFile(this.path(name), 'utf8')
  }

  /** A certificate with that common name; `names` are its host names. */
  async issue(
    commonName: string,
    options: {
      readonly kind?: 'rsa' | 'ec'
      readonly names?: readonly string[]
      readonly days?: number
      readonly usage?: string
      readonly by?: string
      readonly authority?: boolean
    } = {},
  ): Promise<MadeCertificate> {
    const { kind = 'ec', names = [], days = 2, usage, by = 'ca', authority = false } = options
    const count = (this.#names.get(commonName) ?? 0) + 1
    this.#names.set(commonName, count)
    const file = `${commonName}-${kind}-${count}`
    const request = ['-nodes', '-keyout', `${file}.key`, '-out', `${file}.csr`, '-subj', `/CN=${commonName}`]
    const extensions = [
      ...(names.length > 0 ? [`subjectAltName=${names.map((name) => `DNS:${name}`).join(',')}`] : []),
      ...(usage === undefined ? [] : [`extendedKeyUsage=${usage}`]),
      ...(authority ? ['basicConstraints=CA:TRUE'] : []),
      '',
    ]
    await writeFile(this.path(`${file}.ext`), extensions.join('\n'))
    await this.openssl('req', '-new', ...newKey[kind], ...request)
    const signing = ['-CA', `${by}.pem`, '-CAkey', `${by}.key`, '-CAcreateserial', '-extfile', `${file}.ext`]
    const serial = ['-CAserial', `${file}.srl`, '-days', String(days)]
    await this.openssl('x509', '-req', '-in', `${file}.csr`, ...signing, ...serial, '-out', `${file}.pem`)
    return { certificate: this.path(`${file}.pem`), key: this.path(`${file}.key`) }
  }
}

export interface Taken {
  readonly kind: 'mqtt' | 'http'
  readonly socket: TLSSocket
  readonly facts: ConnectionFacts
}

export interface StartOptions extends Partial<Omit<TlsFrontOptions, 'onConnection' | 'material'>> {
  readonly settings: Partial<TlsSettings>
  readonly onConnection?: (taken: Taken) => void
}

/** A front on a free port, whose door greets with one word, `mqtt` or `http`, and then echoes. */
export async function startFront(scope: Scope, options: StartOptions) {
  const { settings, onConnection, ...rest } = options
  const whole: TlsSettings = { policy: 'TLS13_1_2_2022_10', sni: 'optional', names: [], ...settings }
  const taken: Taken[] = []
  const failures = new Map<string, number>()
  const metrics: Metrics = {
    count: (name, labels, by = 1) => {
      if (name !== 'sluice_tls_handshakes_failed_total') return
      const { reason } = labels as { readonly reason: string }
      failures.set(reason, (failures.get(reason) ?? 0) + by)
    },
    set() {},
  }
  const log = keepLines()
  const front = createTlsFront({
    setting: 'listen.https',
    protocol: 'http',
    proxyProtocol: false,
    clientCertificates: true,
    log,
    metrics,
    material: () => readTlsMaterial(whole, []),
    ...rest,
    onConnection(kind, socket, facts) {
      taken.push({ kind, socket, facts })
      if (onConnection !== undefined) return onConnection({ kind, socket, facts })
      socket.write(kind)
      socket.pipe(socket)
    },
  })
  await front.listen({ host: '127.0.0.1', port: 0 })
  scope.after(() => front.close(0))
  const port = front.address()?.port ?? 0
  return { front, port, taken, failures, log }
}

export interface Probe {
  /** `TLSv1.2`, `TLSv1.3`; undefined where the handshake failed. */
  readonly version: string | undefined
  readonly cipher: string | undefined
  /** Common name of the server's certificate. */
  readonly subject: string | undefined
  readonly output: string
  readonly code: number | null
}

/** Places for s_client: two cores are soon full. */
let places = 4
const queue: (() => void)[] = []

/** Runs `openssl s_client`, at most four at once, and ends it by the end of its input. */
export async function sClient(port: number, parameters: readonly string[], input = ''): Promise<Probe> {
  if (places === 0) await new Promise<void>((resolve) => queue.push(resolve))
  else places -= 1
  try {
    const child = spawn('openssl', ['s_client', '-connect', `127.0.0.1:${port}`, ...parameters])
    let output = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => (output += text))
    child.stdin.on('error', () => {})
    child.stdin.end(input)
    const [code] = (await once(child, 'close')) as [number | null]
    const cipher = /Cipher is (?<name>[A-Z0-9_-]+)/.exec(output)?.groups?.['name']
    return {
      cipher,
      // `New, …` is the version that the suite came with; in TLS 1.3 there may be no session to say more.
      version:
        cipher && /(?:Protocol *: |New, (?=TLSv1\.3))(?<version>TLSv1(?:\.\d)?)/.exec(output)?.groups?.['version'],
      subject: /subject=.*CN ?= ?(?<name>\S+)/.exec(output)?.groups?.['name'],
      output,
      code,
    }
  } finally {
    const next = queue.shift()
    if (next === undefined) places += 1
    else next()
  }
}

/** A TCP connection and what comes back on it. */
export async function dial(scope: Scope, port: number): Promise<Raw> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true })
  await once(socket, 'connect')
  scope.after(() => socket.destroy())
  const raw = { socket, received: Buffer.alloc(0), ended: once(socket, 'close').then(() => {}) }
  socket.on('error', () => {})
  socket.on('data', (data: Buffer) => (raw.received = Buffer.concat([raw.received, data])))
  return raw
}

export interface Raw {
  readonly socket: Socket
  received: Buffer
  readonly ended: Promise<void>
}

/** A TLS connection of Node's client whose handshake is done; rejects where it fails. */
export async function secure(scope: Scope, port: number, options: ConnectionOptions = {}): Promise<TLSSocket> {
  const socket = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false, ...options })
  scope.after(() => socket.destroy())
  await once(socket, 'secureConnect')
  socket.on('error', () => {})
  return socket
}

/** The next that comes, as text. */
export async function nextText(socket: Socket): Promise<string> {
  const [data] = (await once(socket, 'data')) as [Buffer]
  return data.toString('latin1')
}

export interface Changes {
  /** The first bytes of the client are sent in these pieces, one after the other. */
  readonly first?: (data: Buffer) => readonly Buffer[]
  /** What the client sends afterwards. */
  readonly later?: (data: Buffer) => Buffer
}

/** A way to a front on which what the client sends is changed. */
export async function relay(scope: Scope, port: number, changes: Changes): Promise<number> {
  const { first = (data) => [data], later = (data) => data } = changes
  const server = createServer((client) => {
    const front = connect({ port, host: '127.0.0.1', noDelay: true })
    const end = (): void => void (client.destroy(), front.destroy())
    for (const socket of [client, front]) socket.on('error', end).on('close', end)
    front.pipe(client)
    const begin = async (data: Buffer): Promise<void> => {
      client.pause()
      for (const piece of first(data)) {
        await new Promise((resolve) => front.write(piece, resolve))
        await new Promise((resolve) => setImmediate(resolve))
      }
      client.on('data', (more: Buffer) => front.write(later(more))).resume()
    }
    client.once('data', (data: Buffer) => void begin(data))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  scope.after(() => server.close())
  const address = server.address()
  return typeof address === 'object' && address !== null ? address.port : 0
}
