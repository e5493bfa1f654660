import { execFileSync } from 'node:child_process'
import { createPrivateKey, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { AsnConvert, OctetString } from '@peculiar/asn1-schema'
import {
  AlgorithmIdentifier,
  AttributeTypeAndValue,
  AttributeValue,
  BasicConstraints,
  Certificate,
  Extension,
  Extensions,
  Name,
  RelativeDistinguishedName,
  SubjectPublicKeyInfo,
  TBSCertificate,
  Validity,
  Version,
} from '@peculiar/asn1-x509'
import { type Scope, temporaryFolder } from '../support/cleanup.ts'

/** Certificates made by openssl. */
export interface MadeCertificate {
  readonly pem: string
  readonly der: Buffer
  /** PEM. */
  readonly key: string
}

export interface MadeAuthority extends MadeCertificate {
  /** Signs a new certificate; `extensions` as in an openssl configuration, `days` may be negative. */
  issue(options: {
    readonly subject: string
    readonly extensions?: readonly string[]
    readonly days?: number
    readonly newKey?: readonly string[]
    readonly digest?: string
  }): MadeCertificate
  /** An authority below this one. */
  below(subject: string, extensions?: readonly string[]): MadeAuthority
  /** A CRL of these certificates; `days` may be negative. */
  crl(revoked: readonly MadeCertificate[], days?: number): string
}

const ec = ['ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1']

/** A folder in which openssl makes certificates. */
export async function openMaker(scope: Scope) {
  const folder = await temporaryFolder(scope)
  let count = 0
  const openssl = (...parameters: string[]) => execFileSync('openssl', parameters, { cwd: folder, stdio: 'pipe' })
  const text = (file: string) => readFileSync(join(folder, file), 'utf8')
  const write = (file: string, lines: string) => writeFileSync(join(folder, file), lines)
  const made = (name: string): MadeCertificate => ({
    pem: text(`${name}.pem`),
    der: openssl('x509', '-in', `${name}.pem`, '-outform', 'DER'),
    key: text(`${name}.key`),
  })

  /** `openssl req` for a new key of that name; the rest says what comes out. */
  const request = (name: string, subject: string, newKey: readonly string[], ...rest: readonly string[]) =>
    openssl('req', '-newkey', ...newKey, '-nodes', '-keyout', `${name}.key`, '-utf8', '-subj', subject, ...rest)

  function selfSigned(subject: string, extensions: readonly string[], newKey: readonly string[] = ec): MadeCertificate {
    const name = `s${(count += 1)}`
    const more = extensions.flatMap((extension) => ['-addext', extension])
    request(name, subject, newKey, '-x509', '-out', `${name}.pem`, '-days', '3', ...more)
    return made(name)
  }

  function authorityOf(certificate: MadeCertificate): MadeAuthority {
    const ca = `a${(count += 1)}`
    write(`${ca}.pem`, certificate.pem)
    write(`${ca}.key`, certificate.key)
    const authority: MadeAuthority = {
      ...certificate,
      issue({ subject, extensions = [], days = 2, newKey = ec, digest = 'sha256' }) {
        const name = `c${(count += 1)}`
        request(name, subject, newKey, '-out', `${name}.csr`)
        write(`${name}.ext`, `${extensions.join('\n')}\n`)
        openssl(
          'x509',
          '-req',
          '-in',
          `${name}.csr`,
          '-CA',
          `${ca}.pem`,
          '-CAkey',
          `${ca}.key`,
          `-${digest}`,
          '-set_serial',
          `0x${randomBytes(16).toString('hex')}`,
          '-days',
          String(days),
          '-extfile',
          `${name}.ext`,
          '-out',
          `${name}.pem`,
        )
        return made(name)
      },
      below: (subject, extensions = ['basicConstraints=critical,CA:TRUE', 'keyUsage=critical,keyCertSign,cRLSign']) =>
        authorityOf(authority.issue({ subject, extensions })),
      crl(revoked, days = 1) {
        const name = `r${(count += 1)}`
        const lines = revoked.map(({ pem }, index) => {
          write(`${name}-${index}.pem`, pem)
          const serial = openssl('x509', '-in', `${name}-${index}.pem`, '-noout', '-serial').toString().trim().slice(7)
          return `R\t330101000000Z\t260101000000Z\t${serial}\tunknown\t/CN=x${index}\n`
        })
        write(`${name}.index`, lines.join(''))
        write(`${name}.number`, '01\n')
        write(
          `${name}.cnf`,
          `[ca]\ndefault_ca=d\n[d]\ndatabase=${name}.index\ndefault_md=sha256\ncrlnumber=${name}.number\n`,
        )
        openssl(
          'ca',
          '-gencrl',
          '-config',
          `${name}.cnf`,
          '-keyfile',
          `${ca}.key`,
          '-cert',
          `${ca}.pem`,
          '-crldays',
          String(days),
          '-out',
          `${name}.crl`,
        )
        return text(`${name}.crl`)
      },
    }
    return authority
  }

  return {
    selfSigned,
    authority: (subject: string, extensions: readonly string[] = ['keyUsage=critical,keyCertSign,cRLSign']) =>
      authorityOf(selfSigned(subject, extensions)),
  }
}

/** A part of a crafted name: object identifier, ASN.1 type and value. */
export type Part = readonly [type: string, as: keyof AttributeValue | 'raw', value: string | Buffer]

/** Certificates that openssl would not make: built field by field and signed by node:crypto. */
export function craft(options: {
  /** A list of RDNs; each may have several parts. */
  readonly subject: readonly (readonly Part[])[]
  readonly extensions?: readonly { readonly id: string; readonly critical?: boolean; readonly value: Buffer }[]
  readonly authority?: MadeAuthority
}): Buffer {
  const { subject, extensions = [], authority } = options
  const own = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const signingKey: KeyObject = authority === undefined ? own.privateKey : createPrivateKey(authority.key)
  const ecdsa = new AlgorithmIdentifier({ algorithm: '1.2.840.10045.4.3.2' })
  const name = nameOf(subject)
  const tbs = new TBSCertificate({
    version: Version.v3,
    serialNumber: new Uint8Array([0x4a, ...randomBytes(8)]).buffer,
    signature: ecdsa,
    issuer: authority === undefined ? name : AsnConvert.parse(authority.der, Certificate).tbsCertificate.subject,
    subject: name,
    validity: new Validity({ notBefore: new Date(Date.now() - 60_000), notAfter: new Date(Date.now() + 86_400_000) }),
    subjectPublicKeyInfo: AsnConvert.parse(own.publicKey.export({ type: 'spki', format: 'der' }), SubjectPublicKeyInfo),
    extensions: new Extensions(
      extensions.map(
        ({ id, critical = false, value }) => new Extension({ extnID: id, critical, extnValue: new OctetString(value) }),
      ),
    ),
  })
  if (extensions.length === 0) delete tbs.extensions
  const signature = sign('sha256', Buffer.from(AsnConvert.serialize(tbs)), signingKey)
  return Buffer.from(
    AsnConvert.serialize(
      new Certificate({
        tbsCertificate: tbs,
        signatureAlgorithm: ecdsa,
        signatureValue: Uint8Array.from(signature).buffer,
      }),
    ),
  )
}

function nameOf(rdns: readonly (readonly Part[])[]): Name {
  return new Name(
    rdns.map(
      (parts) =>
        new RelativeDistinguishedName(
          parts.map(([type, as, value]) => {
            const field =
              as === 'raw' ? { anyValue: Uint8Array.from(value as Buffer).buffer } : { [as]: value as string }
            return new AttributeTypeAndValue({ type, value: new AttributeValue(field) })
          }),
        ),
    ),
  )
}

export const caTrue = Buffer.from(AsnConvert.serialize(new BasicConstraints({ cA: true })))
