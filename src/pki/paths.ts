import { join } from 'node:path'

/** A certificate and its private key, PEM files. */
export interface Pair {
  readonly certificate: string
  readonly key: string
}

/** Where everything of a PKI folder is. */
export interface PkiPaths {
  readonly folder: string
  readonly ca: Pair
  /** Sluice's own server certificates: one of each kind of key, so that every cipher suite can be served. */
  readonly servers: Readonly<Record<ServerKind, Pair>>
  readonly crl: string
  readonly ledger: string
  /** The certificate and key issued to a name. */
  issued(kind: CertificateKind, name: string): Pair
}

/** What a certificate is for: TLS servers, or devices as TLS clients. */
export type CertificateKind = 'device' | 'server'

export type ServerKind = 'server-ec' | 'server-rsa'

/** The device certificate that a first run makes. */
export const demoName = 'demo'

/** Gives paths and touches nothing; loads nothing either, so any command can use it. */
export function pkiPaths(folder: string): PkiPaths {
  const pair = (name: string): Pair => ({
    certificate: join(folder, `${name}.pem`),
    key: join(folder, `${name}.key`),
  })
  return {
    folder,
    ca: pair('ca'),
    servers: { 'server-ec': pair('server-ec'), 'server-rsa': pair('server-rsa') },
    crl: join(folder, 'crl.pem'),
    ledger: join(folder, 'ledger.json'),
    issued: (kind, name) => pair(join(kind === 'device' ? 'devices' : 'servers', fileNameOf(name))),
  }
}

/** A colon is fine in a name and not in a file's name everywhere. Two names may share a file name: see room.ts. */
function fileNameOf(name: string): string {
  return name.replaceAll(':', '_')
}
