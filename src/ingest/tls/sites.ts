import { constants } from 'node:crypto'
import { createServer, type Server, type TLSSocket } from 'node:tls'
import type { SiteMaterial, TlsMaterial } from './material.ts'

/** What TLS listeners offer by ALPN: AWS's names (aws-security §1), and plain HTTP's own. */
export const alpnProtocols = ['mqtt', 'x-amzn-mqtt-ca', 'x-amzn-http-ca', 'http/1.1'] as const

/** What is served under one server name: a tls.Server that never listens and gets its sockets handed. */
export interface Site {
  readonly server: Server
  readonly authorizer: SiteMaterial['authorizer']
}

export interface SiteOptions {
  readonly clientCertificates: boolean
  readonly handshakeMs: number
  /** A handshake is done. */
  readonly secured: (socket: TLSSocket, site: Site) => void
  /** A handshake has failed. */
  readonly failed: (error: Error, socket: TLSSocket) => void
}

/** Finds the site of a server name; undefined where that name (or none) is refused. */
export type FindSite = (serverName: string | undefined) => Site | undefined

/**
 * Makes the servers of all names. Not one server with an SNICallback: that can serve one certificate only, and has one
 * policy (feasibility-doors §3). A reload makes new ones; what is connected keeps the old.
 *
 * Which name gets what (aws-security §1, §15; where AWS's pages of 2022 and of today disagree, `sni` decides):
 * - No server name: refused where `sni: required`, else the default certificates.
 * - A name of `tls.names`, letter for letter, else its `*.` pattern: what stands there.
 * - A name that a default certificate is for: the default certificates.
 * - Any other name is a wrong one. It is refused, as AWS does, where names are configured or `sni: required`. Where neither
 *   is, there is nothing to be wrong against (people reach a Sluice as localhost, a machine, a container): the default.
 *
 * Throws what OpenSSL says about the material.
 */
export function createSites(material: TlsMaterial, options: SiteOptions): FindSite {
  const fallback = createSite(material.fallback, options)
  const names = new Map([...material.names].map(([name, site]) => [name, createSite(site, options)]))
  const anyName = material.sni === 'optional' && names.size === 0
  return (serverName) => {
    if (serverName === undefined) return material.sni === 'required' ? undefined : fallback
    const named = names.get(serverName) ?? names.get(`*${serverName.slice(Math.max(0, serverName.indexOf('.')))}`)
    if (named !== undefined || anyName) return named ?? fallback
    const own = material.fallback.certificates.some(
      ({ certificate }) => certificate.checkHost(serverName) !== undefined,
    )
    return own ? fallback : undefined
  }
}

function createSite({ certificates, policy, authorizer }: SiteMaterial, options: SiteOptions): Site {
  const server = createServer({
    cert: certificates.map(({ chain }) => chain),
    key: certificates.map(({ key }) => key),
    minVersion: policy.minVersion,
    maxVersion: policy.maxVersion,
    ciphers: policy.ciphers.join(':'),
    honorCipherOrder: true,
    ecdhCurve: 'auto',
    // OpenSSL has no parameters for DHE by itself; these are the standard groups, as strong as the RSA key (RFC 7919).
    ...(policy.ciphers.some((name) => name.startsWith('DHE-')) && { dhparam: 'auto' }),
    // AWS IoT has no session tickets (aws-security §1). TLS 1.3 sends some all the same, which nothing resumes.
    secureOptions: constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION,
    // None, not the system's: identity/ judges certificates, and OpenSSL needn't try.
    ca: [],
    requestCert: options.clientCertificates,
    rejectUnauthorized: false,
    ALPNProtocols: [...alpnProtocols],
    handshakeTimeout: options.handshakeMs,
  })
  const site = { server, authorizer }
  server.on('secureConnection', (socket) => options.secured(socket, site))
  server.on('tlsClientError', options.failed)
  return site
}
