import { isIP } from 'node:net'
import type { Extension, GeneralName, Name } from '@peculiar/asn1-x509'
import type { CertificateName } from '../../core/certificate.ts'
import { asn1 } from './asn1.ts'

/** Attributes that policies may ask about (aws-security §7.4), by object identifier (RFC 5280 appendix A.1). */
const attributes: ReadonlyMap<string, string> = new Map([
  ['2.5.4.46', 'DistinguishedNameQualifier'],
  ['2.5.4.6', 'Country'],
  ['2.5.4.10', 'Organization'],
  ['2.5.4.11', 'OrganizationalUnit'],
  ['2.5.4.8', 'State'],
  ['2.5.4.3', 'CommonName'],
  ['2.5.4.5', 'SerialNumber'],
  ['2.5.4.12', 'Title'],
  ['2.5.4.4', 'Surname'],
  ['2.5.4.42', 'GivenName'],
  ['2.5.4.43', 'Initials'],
  ['2.5.4.65', 'Pseudonym'],
  ['2.5.4.44', 'GenerationQualifier'],
])

/** How RFC 4514 §3 calls them in a name that is written as one text. */
const shortNames: ReadonlyMap<string, string> = new Map([
  ['2.5.4.3', 'CN'],
  ['2.5.4.7', 'L'],
  ['2.5.4.8', 'ST'],
  ['2.5.4.10', 'O'],
  ['2.5.4.11', 'OU'],
  ['2.5.4.6', 'C'],
  ['2.5.4.9', 'STREET'],
  ['0.9.2342.19200300.100.1.25', 'DC'],
  ['0.9.2342.19200300.100.1.1', 'UID'],
])

/** A name whose text could be read in more than one way. */
export class AmbiguousName extends Error {}

/**
 * The values of the attributes that policies ask about, in the order of the certificate, those of a multi-valued RDN one after
 * the other. `inside` is the DER that the name stands in. Throws AmbiguousName where a value isn't the one text that its bytes mean: bytes
 * that are no UTF-8, characters beyond what is decoded, a number where a text belongs.
 */
export function nameFacts(name: Name, inside: Buffer, alternatives: Extension | undefined): CertificateName {
  mustBeFaithful(name, inside)
  const found: Record<string, string[]> = {}
  for (const { type, value } of name.flat()) {
    const attribute = attributes.get(type)
    if (attribute === undefined) continue
    if (value.anyValue !== undefined) throw new AmbiguousName(`${attribute} is not text`)
    ;(found[attribute] ??= []).push(wellFormed(value.toString()))
  }
  if (alternatives === undefined) return found
  return { ...found, alternativeName: alternativeFacts(alternatives) }
}

/** Decoding is lenient. What gives other bytes when it is encoded again has been decoded into something that isn't there. */
function mustBeFaithful(name: Name, inside: Buffer): void {
  if (!inside.includes(Buffer.from(asn1().AsnConvert.serialize(name)))) throw new AmbiguousName('a name is ambiguous')
}

function alternativeFacts(extension: Extension): Readonly<Record<string, readonly string[]>> {
  const { AsnConvert, SubjectAlternativeName } = asn1()
  const names = AsnConvert.parse(extension.extnValue, SubjectAlternativeName)
  mustBeFaithfulNames(names, extension)
  const found: Record<string, string[]> = {}
  const add = (kind: string, value: string) => void (found[kind] ??= []).push(wellFormed(value))
  for (const name of names as readonly GeneralName[]) {
    if (name.rfc822Name !== undefined) add('RFC822Name', ascii(name.rfc822Name))
    if (name.dNSName !== undefined) add('DNSName', ascii(name.dNSName))
    if (name.directoryName !== undefined) add('DirectoryName', nameText(name.directoryName))
    if (name.uniformResourceIdentifier !== undefined)
      add('UniformResourceIdentifier', ascii(name.uniformResourceIdentifier))
    if (name.iPAddress !== undefined && isIP(name.iPAddress) !== 0) add('IPAddress', name.iPAddress)
  }
  return found
}

function mustBeFaithfulNames(names: unknown, { extnValue }: Extension): void {
  if (!Buffer.from(asn1().AsnConvert.serialize(names)).equals(Buffer.from(extnValue.buffer)))
    throw new AmbiguousName('an alternative name is ambiguous')
}

function ascii(text: string): string {
  // oxlint-disable-next-line no-control-regex -- IA5String is all of ASCII; what it means is for policies to say
  if (!/^[\x00-\x7f]*$/.test(text)) throw new AmbiguousName('an alternative name is not ASCII')
  return text
}

function wellFormed(text: string): string {
  if (!text.isWellFormed()) throw new AmbiguousName('a name has half a character')
  return text
}

/** A name as one text (RFC 4514: the last part first). An attribute without a short name stands as its object identifier. */
export function nameText(name: Name): string {
  const parts = name.map((rdn) =>
    rdn.map(({ type, value }) => `${shortNames.get(type) ?? type}=${escaped(value.toString())}`).join('+'),
  )
  return parts.toReversed().join(',')
}

/** RFC 4514 §2.4. */
function escaped(value: string): string {
  return value
    .replace(/[\\"+,;<>]/g, String.raw`\$&`)
    .replaceAll('\0', String.raw`\00`)
    .replace(/^[ #]/, String.raw`\$&`)
    .replace(/ $/, String.raw`\ `)
}
