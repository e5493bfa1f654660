import { dirname } from 'node:path'
import type { KeyObject } from 'node:crypto'
import { SluiceError } from '../core/errors.ts'
import { day, type MadeCertificate, signLeaf } from './certificate.ts'
import { readableByAll, secret, writeWhole } from './files.ts'
import { makeSubfolder } from './folder.ts'
import { type KeyKind, keyPem, newKey } from './key.ts'
import { type LedgerEntry, withEntry, writeLedger } from './ledger.ts'
import { checkName, dnsName, type HostName } from './names.ts'
import { type CertificateKind, pkiPaths } from './paths.ts'
import { type CertificateRequest, readRequest } from './request.ts'
import { requireRoom } from './room.ts'
import { type Session, withPki } from './session.ts'
import { commonName, commonNameOf, parseSubject, type Subject, subjectText } from './subject.ts'

/** Days that a device's certificate is valid by default: devices live long, and revocation is at hand. */
export const deviceDays = 3650
/** Days of a server's: what browsers and other clients take at most is 398. */
export const serverDays = 397

export interface Issued {
  readonly name: string
  readonly kind: CertificateKind
  readonly subject: string
  readonly serial: string
  /** SHA-256 of the DER, 64 lower-case hex digits: the id of the principal that it proves. */
  readonly fingerprint: string
  readonly notAfter: Date
  /** PEM files. No key where the certificate was signed for a request: the key stays where it was made. */
  readonly certificate: string
  readonly key?: string
  /** What clients and servers need to trust it. */
  readonly ca: string
}

export interface DeviceOptions {
  readonly name: string
  /** Such as `CN=pump 7,O=Works`; by default the common name is the name. */
  readonly subject?: string
  readonly days?: number
  readonly key?: KeyKind
}

export interface ServerOptions {
  readonly name: string
  /** What it is valid for; by default the name, which must be a DNS name then. */
  readonly hosts?: readonly HostName[]
  readonly days?: number
  readonly key?: KeyKind
}

export interface SignOptions {
  /** PEM; at most 64 KiB. */
  readonly request: string | Uint8Array
  /** By default the request's common name. */
  readonly name?: string
  readonly days?: number
}

/** Makes a key and a certificate for TLS clients. Throws SluiceError WRONG_USE with what to do; nothing is written then. */
export async function issueDevice(folder: string, options: DeviceOptions): Promise<Issued> {
  const { name, days, key = 'ec' } = options
  checkName('device', name)
  const subject = options.subject === undefined ? commonName(name) : parseSubject(options.subject)
  return withPki(folder, async (session) =>
    issue(session, { kind: 'device', name, subject, names: [], days, defaultDays: deviceDays, key: await newKey(key) }),
  )
}

/** Makes a key and a certificate for a TLS server, for another machine or program than Sluice. Throws SluiceError WRONG_USE. */
export async function issueServer(folder: string, options: ServerOptions): Promise<Issued> {
  const { name, days, hosts = [], key = 'ec' } = options
  checkName('server', name)
  if (Object.hasOwn(pkiPaths(folder).servers, name))
    throw new SluiceError('WRONG_USE', `${name} is Sluice's own; "sluice pki init" makes it anew`)
  const own = dnsName(name)
  if (hosts.length === 0 && own === undefined)
    throw new SluiceError('WRONG_USE', `${name} is not a DNS name; say what the certificate is for with --dns or --ip`)
  const names = hosts.length > 0 ? hosts : [{ type: 'dns', value: own ?? name } as const]
  const subject = commonName(name)
  return withPki(folder, async (session) =>
    issue(session, { kind: 'server', name, subject, names, days, defaultDays: serverDays, key: await newKey(key) }),
  )
}

/**
 * Signs a device's own request: its subject and alternative names, and nothing else that it asks for. Throws SluiceError WRONG_USE with
 * what is wrong with it.
 */
export async function signCsr(folder: string, options: SignOptions): Promise<Issued> {
  const request: CertificateRequest = await readRequest(options.request)
  const name = nameFor(request, options.name)
  const { publicKey, alternativeNames } = request
  const subject = request.subject.length > 0 ? request.subject : commonName(name)
  return withPki(folder, (session) =>
    issue(session, {
      kind: 'device',
      name,
      subject,
      names: alternativeNames,
      days: options.days,
      defaultDays: deviceDays,
      key: publicKey,
    }),
  )
}

/** The name that is asked for, or that of the request. Throws SluiceError WRONG_USE where there is none that can be one. */
export function nameFor(request: CertificateRequest, asked?: string): string {
  const name = asked ?? commonNameOf(request.subject)
  if (name === undefined) throw new SluiceError('WRONG_USE', 'the request has no single common name; say --name')
  checkName('device', name)
  return name
}

interface Wanted {
  readonly kind: CertificateKind
  readonly name: string
  readonly subject: Subject
  readonly names: Parameters<typeof signLeaf>[1]['names']
  readonly days: number | undefined
  readonly defaultDays: number
  /** A public one is somebody else's, and no key is written. */
  readonly key: KeyObject
}

/** The ledger first, then the key, then the certificate: whatever a crash leaves, no certificate is outside the ledger. */
export async function issue(session: Session, wanted: Wanted, replace = false): Promise<Issued> {
  const { paths, ledger, authority } = session
  const { kind, name, subject, names, key } = wanted
  const notAfter = endOf(session, wanted.days, wanted.defaultDays)
  const pair = paths.issued(kind, name)
  if (!replace) await requireRoom(ledger, kind, name, pair)
  const made = await signLeaf(authority, { kind, subject, names, key, notAfter })
  await makeSubfolder(dirname(pair.certificate))
  await writeLedger(paths, withEntry(ledger, entryOf(kind, name, made)))
  if (key.type === 'private') await writeWhole(pair.key, keyPem(key), secret)
  await writeWhole(pair.certificate, made.pem, readableByAll)
  return {
    name,
    kind,
    subject: subjectText(subject),
    serial: made.serial,
    fingerprint: made.fingerprint,
    notAfter: made.notAfter,
    certificate: pair.certificate,
    ...(key.type === 'private' && { key: pair.key }),
    ca: paths.ca.certificate,
  }
}

export function entryOf(kind: CertificateKind, name: string, made: MadeCertificate): LedgerEntry {
  const { serial, fingerprint, notAfter } = made
  return { serial, name, kind, fingerprint, notAfter: notAfter.toISOString() }
}

/** A certificate can't outlive its CA: by default it ends with it, and days that were asked for are refused. */
export function endOf({ authority }: Pick<Session, 'authority'>, days: number | undefined, defaultDays: number): Date {
  const last = authority.certificate.validToDate.getTime()
  if (days === undefined) return new Date(Math.min(Date.now() + defaultDays * day, last))
  if (!Number.isInteger(days) || days < 1) throw new SluiceError('WRONG_USE', 'the days must be a whole number from 1')
  if (Date.now() + days * day <= last) return new Date(Date.now() + days * day)
  const most = Math.floor((last - Date.now()) / day)
  throw new SluiceError(
    'WRONG_USE',
    `the CA itself ends on ${new Date(last).toISOString().slice(0, 10)}: at most ${most} days`,
  )
}
