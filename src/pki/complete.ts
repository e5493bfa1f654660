import { messageOf, SluiceError } from '../core/errors.ts'
import { type Authority, openAuthority } from './authority.ts'
import { makeAuthorityCertificate, signLeaf } from './certificate.ts'
import { writeCrl } from './crl.ts'
import type { EnsuredPki } from './ensure.ts'
import { readableByAll, readIfThere, secret, writeWhole } from './files.ts'
import { makeClosed, tidy } from './folder.ts'
import { deviceDays, endOf, entryOf, issue, serverDays } from './issue.ts'
import { keyPem, kindOf, newKey, readKey } from './key.ts'
import { type Ledger, type LedgerEntry, writeLedger } from './ledger.ts'
import { stateOf } from './list.ts'
import { withLock } from './lock.ts'
import { lookAt, type Wishes } from './look.ts'
import { distinct, type HostName, ipAddress } from './names.ts'
import { demoName, type PkiPaths } from './paths.ts'
import type { ServerState } from './server-state.ts'
import { commonName } from './subject.ts'
import { SubjectAlternativeNameExtension, X509Certificate } from './x509.ts'

/** What was done, and what could not be. */
export type Completed = Pick<EnsuredPki, 'created' | 'made' | 'attention'>

/** Makes what `lookAt` finds missing or due, under the lock and looking again. Throws SluiceError WRONG_USE. */
export async function complete(paths: PkiPaths, wishes: Wishes): Promise<Completed> {
  await makeClosed(paths.folder)
  return withLock(paths.folder, async () => {
    await tidy(paths)
    const found = await lookAt(paths, wishes)
    const made: EnsuredPki['made'][number][] = []
    if (found.settingUp) {
      // First of all, so that whatever follows is known to be unfinished.
      await writeLedger(paths, found.ledger)
      if (await makeAuthority(paths)) made.push('ca')
    }
    const due = found.servers.filter((server) => server.due !== undefined)
    if (due.length === 0 && !found.crlDue && !found.settingUp) return { created: false, made, attention: [] }
    const authority = await openAuthority(paths).catch((error: unknown) => error)
    if (!isAuthority(authority))
      return { created: false, made, attention: withoutAuthority(due, found.crlDue, authority) }

    let { ledger } = found
    // A first run finds no server certificates because it looked before there was a folder.
    const servers = found.settingUp ? (await lookAt(paths, wishes)).servers : found.servers
    for (const server of servers.filter(({ due: because }) => because !== undefined)) {
      ledger = await makeServer(paths, authority, ledger, server, wishes.names)
      made.push(server.which)
    }
    if (found.crlDue || found.settingUp) {
      const { nextUpdate } = await writeCrl(paths, authority, ledger)
      ledger = { ...ledger, crlUntil: nextUpdate.toISOString() }
      await writeLedger(paths, ledger)
      made.push('crl')
    }
    if (found.settingUp) {
      ledger = await makeDemo(paths, authority, ledger)
      made.push(demoName)
      const { settingUp: _, ...finished } = ledger
      await writeLedger(paths, finished)
    }
    return { created: found.settingUp, made, attention: [] }
  })
}

function isAuthority(value: unknown): value is Authority {
  return typeof value === 'object' && value !== null && 'signingKey' in value
}

/** A CA whose key is kept elsewhere is fine as long as nothing needs it; what needs it soon is said, what needs it now is an error. */
function withoutAuthority(due: readonly ServerState[], crlDue: boolean, error: unknown): readonly string[] {
  if (!(error instanceof SluiceError) || due.some(({ usable }) => !usable)) throw error
  const what = due.map((server) => `${server.pair.certificate} is to be made anew (${server.due ?? ''})`)
  if (crlDue) what.push('the CRL is to be renewed')
  return [`${what.join(', ')}, and cannot be: ${messageOf(error)}`]
}

/** The key first: without a certificate it has signed nothing, so an interrupted run goes on with it. Tells whether it made one. */
async function makeAuthority({ ca }: PkiPaths): Promise<boolean> {
  if ((await readIfThere(ca.certificate)) !== undefined) return false
  let key = await readKey(ca.key)
  if (key === undefined) {
    key = await newKey('ec')
    await writeWhole(ca.key, keyPem(key), secret)
  }
  await writeWhole(ca.certificate, await makeAuthorityCertificate(key), readableByAll)
  return true
}

/** The key stays where it can: then only one file changes, and whoever reads both never sees a pair that doesn't fit. */
async function makeServer(
  paths: PkiPaths,
  authority: Authority,
  ledger: Ledger,
  server: ServerState,
  names: readonly HostName[],
): Promise<Ledger> {
  const { which, pair, certificate: before } = server
  const kind = which === 'server-rsa' ? 'rsa' : 'ec'
  const present = server.keyRevoked === true ? undefined : await readKey(pair.key)
  const stays = present !== undefined && kindOf(present) === kind
  const key = stays ? present : await newKey(kind)
  const signed = await signLeaf(authority, {
    kind: 'server',
    subject: commonName('localhost'),
    names: distinct([...names, ...(before === undefined ? [] : namesOf(before.raw))]),
    key,
    notAfter: endOf({ authority }, undefined, serverDays),
  })
  const after = added(ledger, entryOf('server', which, signed))
  await writeLedger(paths, after)
  if (!stays) await writeWhole(pair.key, keyPem(key), secret)
  await writeWhole(pair.certificate, signed.pem, readableByAll)
  return after
}

/** What it was for, it stays for. */
function namesOf(der: Buffer): readonly HostName[] {
  const names = new X509Certificate(der).getExtension(SubjectAlternativeNameExtension)?.names.toJSON() ?? []
  return names.flatMap(({ type, value }): HostName[] => {
    if (type === 'dns') return [{ type, value }]
    return type === 'ip' ? [{ type, value: ipAddress(value) ?? value }] : []
  })
}

async function makeDemo(paths: PkiPaths, authority: Authority, ledger: Ledger): Promise<Ledger> {
  const wanted = { kind: 'device', name: demoName, subject: commonName(demoName), names: [] } as const
  const key = await newKey('ec')
  const without = { ...ledger, certificates: ledger.certificates.filter(({ name }) => name !== demoName) }
  const session = { paths, authority, ledger: without }
  const issued = await issue(session, { ...wanted, days: undefined, defaultDays: deviceDays, key }, true)
  const { serial, fingerprint, notAfter } = issued
  return added(without, { serial, name: demoName, kind: 'device', fingerprint, notAfter: notAfter.toISOString() })
}

/** While setting up, what an interrupted run has noted and not written is forgotten. */
function added(ledger: Ledger, entry: LedgerEntry): Ledger {
  const same = (other: LedgerEntry) => other.kind === entry.kind && other.name === entry.name
  const keeps = (other: LedgerEntry) => ledger.settingUp !== true || !same(other) || stateOf(other) !== 'valid'
  return { ...ledger, certificates: [...ledger.certificates.filter(keeps), entry] }
}
