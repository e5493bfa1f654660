import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto'
import { open } from 'node:fs/promises'
import { createSecureContext } from 'node:tls'
import { messageOf, SluiceError } from '../../core/errors.ts'
import { type TlsPolicy, type TlsPolicyName, tlsPolicyWith } from '../../core/tls-policy.ts'

/** Paths of a server certificate (the chain in the same file, the server's own first) and of its key, both PEM. */
export interface CertificateFiles {
  readonly certificate: string
  readonly key: string
}

/** `tls` of sluice.yaml. */
export interface TlsSettings {
  /** At most one of each kind of key. Absent: those of the local CA. */
  readonly certificates?: readonly CertificateFiles[]
  readonly policy: TlsPolicyName
  /** Replaces the suites of the policy: OpenSSL's names, `A:B:C`. */
  readonly ciphers?: string
  readonly sni: 'optional' | 'required'
  readonly names: readonly TlsNameSettings[]
}

/** What a server name has of its own; what is absent is as for everybody. */
export interface TlsNameSettings {
  /** A host name in lower case, or `*.` and a host name: one label stands for the `*`. */
  readonly name: string
  readonly certificates?: readonly CertificateFiles[]
  readonly policy?: TlsPolicyName
  readonly ciphers?: string
  readonly defaultAuthorizer?: string
  readonly allowAuthorizerOverride?: boolean
}

/** A certificate, read and found to be one that can be served. */
export interface ServerCertificate {
  /** Where it stands in sluice.yaml: `tls.certificates.0`. */
  readonly setting: string
  readonly files: CertificateFiles
  readonly certificate: X509Certificate
  /** PEM of the whole chain. */
  readonly chain: string
  /** PEM. Never to be logged. */
  readonly key: string
}

/** What is served to those who ask for one name, or for none. */
export interface SiteMaterial {
  readonly certificates: readonly ServerCertificate[]
  readonly policy: TlsPolicy
  readonly authorizer?: { readonly default?: string; readonly allowOverride: boolean }
}

/** All that the TLS listeners serve: it is read whole, and put in force whole. */
export interface TlsMaterial {
  readonly sni: 'optional' | 'required'
  readonly fallback: SiteMaterial
  /** By server name, `*.example.com` among them. */
  readonly names: ReadonlyMap<string, SiteMaterial>
  /** Absolute paths of everything that was read. */
  readonly files: readonly string[]
  /** What deserves a warning: certificates that are not valid now, or not for the name they stand at. */
  readonly warnings: readonly { readonly file: string; readonly message: string }[]
}

/** AWS bounds a chain at 16 KB. */
const longestFile = 256 * 1024
const serverAuth = '1.3.6.1.5.5.7.3.1'

/** Every file that `readTlsMaterial` would read: what a watcher looks at, also while one of them is missing. */
export function tlsFiles(settings: TlsSettings, local: readonly CertificateFiles[]): string[] {
  const pairs = [settings.certificates ?? local, ...settings.names.map(({ certificates }) => certificates ?? [])].flat()
  return [...new Set(pairs.flatMap(({ certificate, key }) => [certificate, key]))]
}

/**
 * Reads the certificates and keys that `tls` names. `local` stands in where it names none: the server certificates of the
 * local CA. Throws SluiceError CONFIG_INVALID with everything that is wrong: which setting, which file, and why; never what is in
 * a file.
 */
export async function readTlsMaterial(
  settings: TlsSettings,
  local: readonly CertificateFiles[],
  now: number = Date.now(),
): Promise<TlsMaterial> {
  const problems: string[] = []
  const material = await gather(settings, local, now, problems)
  if (problems.length > 0) throw new SluiceError('CONFIG_INVALID', problems.join('; '))
  return material
}

/** What is wrong with the certificates and keys that `tls` names, each text beginning with its dotted setting; for `check`. */
export async function complainAboutTls(settings: TlsSettings): Promise<readonly string[]> {
  const problems: string[] = []
  await gather(settings, [], Date.now(), problems)
  return problems
}

async function gather(
  settings: TlsSettings,
  local: readonly CertificateFiles[],
  now: number,
  problems: string[],
): Promise<TlsMaterial> {
  const read = async (setting: string, all: readonly CertificateFiles[]): Promise<ServerCertificate[]> => {
    const certificates: ServerCertificate[] = []
    for (const [index, files] of all.entries()) {
      const certificate = await readCertificate(`${setting}.${index}`, files, problems)
      if (certificate !== undefined) certificates.push(certificate)
    }
    complainAboutKinds(certificates, problems)
    return certificates
  }
  const own = await read('tls.certificates', settings.certificates ?? local)
  const fallback = siteOf('tls', own, settings.policy, settings.ciphers, problems)
  const names = new Map<string, SiteMaterial>()
  for (const [index, name] of settings.names.entries()) {
    const setting = `tls.names.${index}`
    const certificates =
      name.certificates === undefined ? own : await read(`${setting}.certificates`, name.certificates)
    // A policy of its own has suites of its own.
    const ciphers = name.ciphers ?? (name.policy === undefined ? settings.ciphers : undefined)
    const site = siteOf(setting, certificates, name.policy ?? settings.policy, ciphers, problems)
    const authorizer = authorizerOf(name)
    names.set(name.name, { ...site, ...(authorizer !== undefined && { authorizer }) })
  }
  const warnings = [
    ...[fallback, ...names.values()].flatMap(({ certificates }) => certificates.flatMap((one) => validity(one, now))),
    ...[...names].flatMap(([name, { certificates }]) => certificates.flatMap((one) => fitness(one, name))),
  ]
  const once = new Map(warnings.map((warning) => [warning.message, warning]))
  return { sni: settings.sni, fallback, names, files: tlsFiles(settings, local), warnings: [...once.values()] }
}

/** Certificates of a material that have run out. */
export function expiredIn({ fallback, names }: TlsMaterial, now: number = Date.now()): ServerCertificate[] {
  return [fallback, ...names.values()]
    .flatMap(({ certificates }) => certificates)
    .filter(({ certificate }) => certificate.validToDate.getTime() < now)
}

function siteOf(
  setting: string,
  certificates: readonly ServerCertificate[],
  name: TlsPolicyName,
  ciphers: string | undefined,
  problems: string[],
): SiteMaterial {
  const policy = tlsPolicyWith(name, ciphers)
  if (policy !== undefined) return { certificates, policy }
  problems.push(`${setting}.ciphers has no suite for a version of TLS that ${name} speaks`)
  return { certificates, policy: { minVersion: 'TLSv1.3', maxVersion: 'TLSv1.3', ciphers: [] } }
}

function authorizerOf({ defaultAuthorizer, allowAuthorizerOverride }: TlsNameSettings): SiteMaterial['authorizer'] {
  if (defaultAuthorizer === undefined && allowAuthorizerOverride === undefined) return undefined
  return {
    ...(defaultAuthorizer !== undefined && { default: defaultAuthorizer }),
    allowOverride: allowAuthorizerOverride ?? false,
  }
}

async function readCertificate(
  setting: string,
  files: CertificateFiles,
  problems: string[],
): Promise<ServerCertificate | undefined> {
  const chain = await readPem(`${setting}.certificate`, files.certificate, problems)
  const key = await readPem(`${setting}.key`, files.key, problems)
  const certificate = chain === undefined ? undefined : parseChain(setting, files, chain, problems)
  const parsedKey = key === undefined ? undefined : parseKey(setting, files, key, problems)
  if (chain === undefined || key === undefined || certificate === undefined || parsedKey === undefined) return undefined
  if (!certificate.checkPrivateKey(parsedKey)) {
    problems.push(`${setting}.key does not belong to its certificate (${files.key})`)
    return undefined
  }
  try {
    // What only OpenSSL knows: keys that are too short, signatures that are too weak.
    createSecureContext({ cert: chain, key, ca: [] })
  } catch (error) {
    problems.push(`${setting} cannot be served (${files.certificate}): ${messageOf(error)}`)
    return undefined
  }
  return { setting, files, certificate, chain, key }
}

async function readPem(setting: string, path: string, problems: string[]): Promise<string | undefined> {
  let text: string | undefined
  try {
    text = await readBounded(path)
  } catch (error) {
    const missing = typeof error === 'object' && error !== null && 'code' in error && error.code === 'ENOENT'
    problems.push(`${setting}: ${missing ? `there is no file ${path}` : `${path} cannot be read: ${messageOf(error)}`}`)
    return undefined
  }
  if (text?.includes('-----BEGIN ') === true) return text
  problems.push(`${setting} must be the path of a PEM file (${path})`)
  return undefined
}

/** Undefined where it is not a file, or larger than any certificate. */
async function readBounded(path: string): Promise<string | undefined> {
  await using file = await open(path, 'r')
  const { size } = await file.stat().then((stat) => (stat.isFile() ? stat : { size: Infinity }))
  return size > longestFile ? undefined : await file.readFile('utf8')
}

const certificatePem = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g

/** The server's own certificate, which is the first; the others have to be readable too, or OpenSSL would leave them out. */
function parseChain(
  setting: string,
  { certificate: path }: CertificateFiles,
  chain: string,
  problems: string[],
): X509Certificate | undefined {
  let own: X509Certificate | undefined
  try {
    for (const pem of chain.match(certificatePem) ?? []) {
      const certificate = new X509Certificate(pem)
      own ??= certificate
    }
  } catch {
    own = undefined
  }
  if (own === undefined) problems.push(`${setting}.certificate holds no certificate that can be read (${path})`)
  // Extended key usage; absent, the certificate is for everything.
  else if (own.keyUsage !== undefined && !own.keyUsage.includes(serverAuth)) {
    problems.push(
      `${setting}.certificate is not a server certificate: its extended key usage lacks serverAuth (${path})`,
    )
  } else return own
  return undefined
}

function parseKey(
  setting: string,
  { key: path }: CertificateFiles,
  key: string,
  problems: string[],
): KeyObject | undefined {
  const locked = /-----BEGIN ENCRYPTED |^Proc-Type: 4,ENCRYPTED/m.test(key)
  try {
    if (!locked) return createPrivateKey(key)
  } catch {
    // OpenSSL's words would say no more.
  }
  const why = locked ? 'is encrypted; write it without a passphrase' : 'holds no private key that can be read'
  problems.push(`${setting}.key ${why} (${path})`)
  return undefined
}

/** OpenSSL has one place for each kind of key: a second one would silently replace the first. */
function complainAboutKinds(certificates: readonly ServerCertificate[], problems: string[]): void {
  const seen = new Map<string, string>()
  for (const { setting, certificate, files } of certificates) {
    const kind = certificate.publicKey.asymmetricKeyType ?? 'unknown'
    const other = seen.get(kind)
    if (other === undefined) seen.set(kind, setting)
    else
      problems.push(
        `${setting} is another ${kind} certificate beside ${other}, and one of a kind is served (${files.certificate})`,
      )
  }
}

type Warning = TlsMaterial['warnings'][number]

function validity({ setting, certificate, files }: ServerCertificate, now: number): Warning[] {
  const file = files.certificate
  if (certificate.validToDate.getTime() < now)
    return [{ file, message: `${setting}.certificate has expired (${file}); clients will refuse it` }]
  if (certificate.validFromDate.getTime() > now)
    return [{ file, message: `${setting}.certificate is not valid yet (${file}); clients will refuse it` }]
  return []
}

function fitness({ setting, certificate, files }: ServerCertificate, name: string): Warning[] {
  const file = files.certificate
  const host = name.startsWith('*.') ? `any${name.slice(1)}` : name
  if (certificate.checkHost(host) !== undefined) return []
  return [{ file, message: `${setting}.certificate is not for ${name} (${file}); clients will refuse it` }]
}
