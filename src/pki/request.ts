import { createPublicKey, type KeyObject } from 'node:crypto'
import { messageOf, SluiceError } from '../core/errors.ts'
import { complainAboutKey } from './key.ts'
import { dnsName, ipAddress } from './names.ts'
import { checkSubject, type Subject, typeOf } from './subject.ts'
import {
  type JsonGeneralName,
  type JsonGeneralNames,
  Pkcs10CertificateRequest,
  SubjectAlternativeNameExtension,
} from './x509.ts'

/** Requests that are larger are not read. */
export const maxRequestBytes = 64 * 1024

const maxAlternativeNames = 100

/** What is taken over from a request: who it is for, and the key. Nothing else of what it asks for. */
export interface CertificateRequest {
  readonly subject: Subject
  readonly alternativeNames: JsonGeneralNames
  readonly publicKey: KeyObject
}

const block =
  /-----BEGIN (?:NEW )?CERTIFICATE REQUEST-----([A-Za-z0-9+/=\s]*)-----END (?:NEW )?CERTIFICATE REQUEST-----/g

const subjectAlternativeName = '2.5.29.17'

/**
 * Reads a PKCS #10 request (RFC 2986) in PEM, and checks that whoever made it has the private key. Throws SluiceError WRONG_USE, and
 * never quotes the request.
 */
export async function readRequest(pem: string | Uint8Array): Promise<CertificateRequest> {
  if (pem.length > maxRequestBytes) throw refused(`it is larger than ${maxRequestBytes / 1024} KiB`)
  const text = typeof pem === 'string' ? pem : Buffer.from(pem).toString('latin1')
  if (/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(text))
    throw refused('a private key stands with it, which must stay where it was made; give the request alone')
  const blocks = [...text.matchAll(block)]
  if (blocks.length !== 1)
    throw refused(`it holds ${blocks.length} blocks of "-----BEGIN CERTIFICATE REQUEST-----", and must hold one`)
  const der = Buffer.from(blocks[0]?.[1] ?? '', 'base64')

  const request = parsed(() => new Pkcs10CertificateRequest(der))
  const publicKey = parsed(() =>
    createPublicKey({ key: Buffer.from(request.publicKey.rawData), type: 'spki', format: 'der' }),
  )
  const complaint = complainAboutKey(publicKey)
  if (complaint !== undefined) throw refused(complaint)
  const hash = parsed(() => (request.signatureAlgorithm as { hash?: { name?: string } } | null)?.hash?.name)
  if (hash === undefined || !['SHA-256', 'SHA-384', 'SHA-512'].includes(hash))
    throw refused('it is not signed with SHA-256, SHA-384 or SHA-512')
  // A key of one kind and a signature of another throw.
  if (!(await request.verify().catch(() => false)))
    throw refused('its signature is not that of its own key; it was changed, or made without the private key')
  return {
    subject: parsed(() => subjectOf(request)),
    alternativeNames: parsed(() => alternativeNamesOf(request)),
    publicKey,
  }
}

function subjectOf(request: Pkcs10CertificateRequest): Subject {
  const parts = request.subjectName.toJSON().map((level) => {
    const [entry, ...more] = Object.entries(level)
    const [name, values] = entry ?? ['', []]
    const value = values[0]
    if (more.length > 0 || values.length !== 1 || value === undefined)
      throw refused('its subject has several attributes in one level')
    // The library's sign for a value that is no text.
    if (value.startsWith('#')) throw refused(`its subject has a value that is no text, or starts with "#"`)
    return { type: typeOf(name), value }
  })
  return parts.length === 0 ? [] : checkSubject(parts)
}

/** Kinds that the library doesn't know are left out, as everything else that isn't copied. */
function alternativeNamesOf(request: Pkcs10CertificateRequest): JsonGeneralNames {
  const [extension, ...more] = request.getExtensions(subjectAlternativeName)
  if (extension === undefined) return []
  const names = new SubjectAlternativeNameExtension(extension.rawData).names.toJSON()
  if (more.length > 0) throw refused('it has several lists of alternative names')
  if (names.length > maxAlternativeNames) throw refused(`it has more than ${maxAlternativeNames} alternative names`)
  return names.map(({ type, value }) => {
    const plain = plainName(type, value)
    if (plain !== undefined) return { type, value: plain }
    throw refused('it has an alternative name that is no DNS name, IP address, e-mail address or URL')
  })
}

function plainName(type: JsonGeneralName['type'], value: string): string | undefined {
  if (type === 'dns') return dnsName(value)
  if (type === 'ip') return ipAddress(value)
  return (type === 'email' || type === 'url') && /^[\x21-\x7e]{1,253}$/.test(value) ? value : undefined
}

/** The library throws many kinds of errors for what it can't read. */
function parsed<T>(read: () => T): T {
  try {
    return read()
  } catch (error) {
    if (error instanceof SluiceError) throw error
    throw refused(`it cannot be read (${messageOf(error).slice(0, 100)})`, error)
  }
}

function refused(because: string, cause?: unknown): SluiceError {
  return new SluiceError('WRONG_USE', `the certificate request is refused: ${because}`, { cause })
}
