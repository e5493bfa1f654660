import { existsSync } from 'node:fs'
import { isIP } from 'node:net'
import { join } from 'node:path'
import { isLoopback, type SluiceSettings } from '../config/sluice-schema.ts'
import { messageOf } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import { type EnsuredPki, ensurePki } from '../pki/ensure.ts'
import { pkiPaths } from '../pki/paths.ts'

/** Where the local CA lives: `sluice pki` and the first run make it. */
export function pkiFolder(data: string): string {
  return join(data, 'pki')
}

/** The server certificates of the local CA, which are served where `tls.certificates` names none. */
export function localServerCertificates(
  data: string,
): readonly { readonly certificate: string; readonly key: string }[] {
  return Object.values(pkiPaths(pkiFolder(data)).servers)
}

/** Whether anything is served with the local CA's certificates. */
export function needsLocalPki({ listen, tls }: Pick<SluiceSettings, 'listen' | 'tls'>): boolean {
  return (listen.https !== undefined || listen.mqtts !== undefined) && tls.certificates === undefined
}

/** Whether there is a local CA: its list of revoked certificates wants renewing, whoever serves its certificates. */
export function hasLocalPki({ data }: Pick<SluiceSettings, 'data'>): boolean {
  return existsSync(pkiPaths(pkiFolder(data)).ca.certificate)
}

/** The local CA and its server certificates, made or renewed where they have to be. Says what somebody should look at. */
export async function ensureLocalPki(
  { data, listen, tls }: Pick<SluiceSettings, 'data' | 'listen' | 'tls'>,
  log: Log,
): Promise<EnsuredPki> {
  const hosts = [listen.https?.host, listen.mqtts?.host].filter((host) => host !== undefined)
  const named = tls.names.map(({ name }) => name).filter((name) => !name.startsWith('*'))
  // 0.0.0.0 and :: are every address and no name.
  const reached = hosts.filter((host) => !isLoopback(host) && !(isIP(host) !== 0 && /^[0:.]+$/.test(host)))
  const pki = await ensurePki(pkiFolder(data), { hostNames: [...reached, ...named], renewForNames: true })
  if (pki.made.length > 0)
    log.info({ folder: pki.paths.folder, made: pki.made.join(', ') }, 'the local CA made certificates')
  for (const sentence of pki.attention) log.warn({ folder: pki.paths.folder }, sentence)
  return pki
}

/** How often it is looked at whether a server certificate wants renewing: they are renewed a month before they end. */
const renewalMs = 6 * 60 * 60 * 1_000

/** Keeps server certificates and the list of revoked ones valid for as long as the process runs; call what it gives to stop. */
export function keepLocalPki(settings: Pick<SluiceSettings, 'data' | 'listen' | 'tls'>, log: Log): () => void {
  const timer = setInterval(() => {
    ensureLocalPki(settings, log).catch((error: unknown) =>
      log.error({ error: messageOf(error) }, 'the local CA could not be looked after'),
    )
  }, renewalMs).unref()
  return () => clearInterval(timer)
}
