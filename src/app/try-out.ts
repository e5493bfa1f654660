import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import type { Config } from '../config/load.ts'
import { isLoopback } from '../config/sluice-schema.ts'
import { messageOf } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import { createIdentity } from '../identity/new-identity.ts'
import { type DemoDevice, type EnsuredPki } from '../pki/ensure.ts'
import { ensureLocalPki, needsLocalPki } from './local-pki.ts'

/** Where the token of the first run's identity is kept, in the data folder, mode 0600. */
export const tryOutTokenFile = 'try-out.token'

const name = 'try-out'

/** What the identity of a first run may do: everything that devices do, because it is only made where nobody else can reach it. */
const policy = `policies:
  try-out:
    Version: '2012-10-17'
    Statement:
      - Effect: Allow
        Action: ['iot:Connect', 'iot:Publish', 'iot:RetainPublish', 'iot:Subscribe', 'iot:Receive']
        Resource: '*'
`

/**
 * On a first start, when identity/ knows nobody, makes an identity to try things out with: an ordinary file in identity/, a token
 * file and, where there is a TLS listener, a device certificate of the local CA, for `sluice publish`. Says whether it did. Where
 * files can't be written, it is left out and said.
 */
export async function makeTryOutIdentity(config: Config, log: Log): Promise<boolean> {
  const { settings, directory } = config
  // An issuer, an authorizer or a certificate authority is a way in too.
  const sections = [...directory.sections.values()]
  if (directory.principals.size > 0 || sections.some(({ size }) => size > 0) || settings.bridges.length > 0)
    return false
  // Never where strangers could knock: it may do everything.
  if (Object.values(settings.listen).some((listener) => listener !== undefined && !isLoopback(listener.host)))
    return false
  const { token, yaml } = createIdentity({ name, policies: [name] })
  try {
    const pki = needsLocalPki(settings) ? await ensureLocalPki(settings, log) : undefined
    await mkdir(settings.data, { recursive: true })
    await mkdir(settings.identity, { recursive: true })
    // The token first: an identity whose token nobody has would keep the next start from making one. A file that is
    // there may have any mode, so a new one takes its place.
    const file = join(settings.data, tryOutTokenFile)
    await rm(file, { force: true })
    await writeFile(file, `${token}\n`, { mode: 0o600, flag: 'wx' })
    const parts = [yaml, certificateOf(pki?.demo), policy, authorityOf(pki, settings.identity)]
    await writeFile(join(settings.identity, `${name}.yaml`), parts.join(''), { flag: 'wx' })
    return true
  } catch (error) {
    log.warn(
      { error: messageOf(error) },
      'no identity to try things out with could be made; make one with "sluice identity new"',
    )
    return false
  }
}

/** Continues the principal's entry, which ends with its token. */
function certificateOf(demo: DemoDevice | undefined): string {
  return demo === undefined ? '' : `    x509: { fingerprint: ${JSON.stringify(demo.fingerprint)} }\n`
}

/** The local CA, so that what `sluice pki revoke` revokes is refused. */
function authorityOf(pki: EnsuredPki | undefined, folder: string): string {
  if (pki === undefined) return ''
  const from = (path: string): string => JSON.stringify(relative(folder, path))
  return `certificateAuthorities:
  - name: local
    certificate: ${from(pki.paths.ca.certificate)}
    crl: ${from(pki.paths.crl)}
`
}
