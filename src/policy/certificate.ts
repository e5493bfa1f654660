import type { Variable } from './variable.ts'
import { fieldOf } from './values.ts'

const attributes = [
  'DistinguishedNameQualifier',
  'Country',
  'Organization',
  'OrganizationalUnit',
  'State',
  'CommonName',
  'SerialNumber',
  'Title',
  'Surname',
  'GivenName',
  'Initials',
  'Pseudonym',
  'GenerationQualifier',
] as const

const alternativeNames = ['RFC822Name', 'DNSName', 'DirectoryName', 'UniformResourceIdentifier', 'IPAddress'] as const

/** Values of one attribute that are looked at; AWS: "array attributes are limited to five items". */
const itemsRead = 5
/** Characters of a value; AWS: longer ones are not replaced. */
const charactersRead = 1024

/** The full name of a certificate attribute's variable, without `.List` or an index → where it stands in a certificate. */
const places: ReadonlyMap<string, readonly string[]> = new Map(
  ['Issuer', 'Subject'].flatMap((side): [string, string[]][] => {
    const base = `iot:Certificate.${side}`
    return [
      ...attributes.map((name): [string, string[]] => [`${base}.${name}`, [side.toLowerCase(), name]]),
      ...alternativeNames.map((name): [string, string[]] => [
        `${base}.AlternativeName.${name}`,
        [side.toLowerCase(), 'alternativeName', name],
      ]),
    ]
  }),
)

/** Names of all certificate attribute variables, without their endings. */
export const certificateVariables: readonly string[] = [...places.keys()]

/**
 * The variable of a certificate attribute: the first value; with `.N` the value N places after the first; with `.List`
 * all of them (AWS, "X.509 Certificate AWS IoT Core policy variables"). Undefined where there is no such variable.
 */
export function findCertificateVariable(name: string): Variable | undefined {
  const { base, ending } = /^(?<base>.*?)(?:\.(?<ending>List|[1-9]\d?))?$/.exec(name)?.groups ?? {}
  const place = places.get(base ?? '')
  if (place === undefined) return undefined
  if (ending === 'List') {
    return {
      name,
      text: () => undefined, // many values can't stand in one place
      values: (context) => readValues(context.certificate, place),
    }
  }
  const index = Number(ending ?? 0)
  return {
    name,
    text: (context) => usable(valuesAt(context.certificate, place)[index]),
    values: (context) => readValues(context.certificate, place).slice(index, index + 1),
  }
}

/** Names of the certificate attribute variables that have a usable value. */
export function availableKeys(certificate: unknown): string[] {
  return [...places].filter(([, place]) => readValues(certificate, place)[0] !== undefined).map(([name]) => name)
}

function readValues(certificate: unknown, place: readonly string[]): (string | undefined)[] {
  return valuesAt(certificate, place).map(usable)
}

function valuesAt(certificate: unknown, place: readonly string[]): readonly unknown[] {
  const values = place.reduce(fieldOf, certificate)
  if (!Array.isArray(values)) return []
  return values.length > itemsRead ? values.slice(0, itemsRead) : values
}

/** A value as variables and conditions see it; undefined where AWS doesn't replace the variable with it. */
function usable(value: unknown): string | undefined {
  if (typeof value !== 'string' || value.length > charactersRead || /[*$+?#]/.test(value)) return undefined
  return value.replace(/[,"\\=<>;]/g, String.raw`\$&`)
}
