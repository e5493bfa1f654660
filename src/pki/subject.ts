import { SluiceError } from '../core/errors.ts'

/** One attribute of a subject: its type as an object identifier, and its text. */
export interface SubjectPart {
  readonly type: string
  readonly value: string
}

/** A subject, one attribute a level, in the order of the certificate. */
export type Subject = readonly SubjectPart[]

type Encoding = 'printableString' | 'ia5String' | 'utf8String'

interface AttributeType {
  readonly oid: string
  /** RFC 5280, appendix A.1: the upper bounds. */
  readonly longest: number
  readonly encoding?: Encoding
  /** For attributes that are copied from a request and cannot be typed. */
  readonly copied?: true
}

/** The attributes that AWS's just-in-time provisioning can read, by their usual short names, and some that requests carry. */
const types: Readonly<Record<string, AttributeType>> = {
  CN: { oid: '2.5.4.3', longest: 64 },
  O: { oid: '2.5.4.10', longest: 64 },
  OU: { oid: '2.5.4.11', longest: 64 },
  L: { oid: '2.5.4.7', longest: 128 },
  ST: { oid: '2.5.4.8', longest: 128 },
  C: { oid: '2.5.4.6', longest: 2, encoding: 'printableString' },
  serialNumber: { oid: '2.5.4.5', longest: 64, encoding: 'printableString' },
  dnQualifier: { oid: '2.5.4.46', longest: 64, encoding: 'printableString' },
  DC: { oid: '0.9.2342.19200300.100.1.25', longest: 63, encoding: 'ia5String', copied: true },
  emailAddress: { oid: '1.2.840.113549.1.9.1', longest: 255, encoding: 'ia5String', copied: true },
  SN: { oid: '2.5.4.4', longest: 64, copied: true },
  GN: { oid: '2.5.4.42', longest: 64, copied: true },
  title: { oid: '2.5.4.12', longest: 64, copied: true },
}

const typed = Object.keys(types).filter((name) => !types[name]?.copied)
const byOid = new Map(Object.entries(types).map(([name, type]) => [type.oid, { name, ...type }]))

const maxParts = 16
const printable = /^[A-Za-z0-9 '()+,\-./:=?]*$/

/** The subject `CN=name`. Throws SluiceError WRONG_USE for a name that is too long for one. */
export function commonName(name: string): Subject {
  const longest = types['CN']?.longest ?? 0
  if (name.length <= longest) return [{ type: commonNameType, value: name }]
  throw new SluiceError(
    'WRONG_USE',
    `the name is longer than the ${longest} characters of a certificate's common name (RFC 5280); choose a shorter one, or say --subject`,
  )
}

const commonNameType = '2.5.4.3'

/**
 * Reads `CN=pump 7,O=Works\, Ltd`: types of the table, commas between, a backslash before , + " \ < > ; in a value and before a space
 * at its ends (RFC 4514, 2.4). Throws SluiceError WRONG_USE with the attribute that is wrong.
 */
export function parseSubject(text: string): Subject {
  if (text.length > 2000) throw wrong('is longer than 2000 characters')
  const attribute = /\s*([A-Za-z]+)\s*=((?:\\[^\n]|[^\\,+"<>;\n])*)(,|$)/y
  const parts: SubjectPart[] = []
  for (let more = true; more;) {
    const at = attribute.lastIndex
    const [, name = '', raw = '', comma] = attribute.exec(text) ?? []
    if (name === '')
      throw wrong(
        `cannot be read from character ${at + 1}: write TYPE=VALUE with commas between, and \\ before , + " \\ < > ;`,
      )
    const type = typed.includes(name) ? types[name] : undefined
    if (type === undefined) throw wrong(`has no attribute ${name} here; there are: ${typed.join(', ')}`)
    // Spaces at the ends go, unless a backslash stands before: one that is not itself the second of a pair.
    const value = raw.replaceAll(/^\s+|(?<=(?:^|[^\\])(?:\\\\)*)\s+$/g, '').replaceAll(/\\([^])/g, '$1')
    parts.push({ type: type.oid, value })
    more = comma === ','
  }
  return checkSubject(parts)
}

/** What holds for every subject, typed or copied. Throws SluiceError WRONG_USE with the attribute. */
export function checkSubject(parts: Subject): Subject {
  if (parts.length === 0) throw wrong('is empty')
  if (parts.length > maxParts) throw wrong(`has more than ${maxParts} attributes`)
  for (const { type, value } of parts) {
    const known = byOid.get(type)
    if (known === undefined) throw wrong(`has an attribute of the type ${type.slice(0, 60)}, which is not copied`)
    const length = Array.from(value).length
    if (length === 0) throw wrong(`has an empty ${known.name}`)
    if (length > known.longest) throw wrong(`has a ${known.name} of more than ${known.longest} characters`)
    if (/[\p{Cc}\p{Cs}\u{fffd}]/u.test(value)) throw wrong(`has characters in ${known.name} that are not text`)
    if (known.name === 'C' && !/^[A-Za-z]{2}$/.test(value)) throw wrong('has a C that is not a code of two letters')
    if (known.encoding === 'printableString' && !printable.test(value))
      throw wrong(`has characters in ${known.name} other than letters, digits, spaces and ' ( ) + , - . / : = ?`)
    if (known.encoding === 'ia5String' && !/^[\x20-\x7e]*$/.test(value)) throw wrong(`has a ${known.name} beyond ASCII`)
  }
  return parts
}

/** The common name, where there is exactly one. */
export function commonNameOf(subject: Subject): string | undefined {
  const found = subject.filter(({ type }) => type === commonNameType)
  return found.length === 1 ? found[0]?.value : undefined
}

/** For people to read, and as {@link parseSubject} reads it: `CN=pump 7,O=Works\, Ltd`. */
export function subjectText(subject: Subject): string {
  return subject
    .map(({ type, value }) => `${byOid.get(type)?.name ?? type}=${value.replaceAll(/[,+"\\<>;]|^\s|\s$/g, '\\$&')}`)
    .join(',')
}

/** As the library takes it, with the encoding said, so that it reads nothing into a value. */
export function encodedSubject(subject: Subject): Record<string, Partial<Record<Encoding, string>>[]>[] {
  return subject.map(({ type, value }) => {
    const encoding = byOid.get(type)?.encoding ?? (printable.test(value) ? 'printableString' : 'utf8String')
    return { [type]: [{ [encoding]: value }] }
  })
}

/** The type of an attribute by the library's name of it, which is an object identifier where it knows none. */
export function typeOf(name: string): string {
  const differently: Readonly<Record<string, string>> = { E: 'emailAddress', G: 'GN', T: 'title' }
  return types[differently[name] ?? name]?.oid ?? name
}

function wrong(complaint: string): SluiceError {
  return new SluiceError('WRONG_USE', `the subject ${complaint}`)
}
