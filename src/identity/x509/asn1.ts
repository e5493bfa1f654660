import { createRequire } from 'node:module'
import type { AsnConvert } from '@peculiar/asn1-schema'
import type * as X509 from '@peculiar/asn1-x509'

const require = createRequire(import.meta.url)

/** What reads the parts of a certificate that node:crypto shows as ambiguous text only, or not at all. */
export type Asn1 = typeof X509 & { readonly AsnConvert: typeof AsnConvert }

let loaded: Asn1 | undefined

/** Loaded when it is first needed: it takes 45 ms, which a command that meets no certificate doesn't pay. */
export function asn1(): Asn1 {
  loaded ??= {
    ...(require('@peculiar/asn1-x509') as typeof X509),
    AsnConvert: (require('@peculiar/asn1-schema') as { AsnConvert: typeof AsnConvert }).AsnConvert,
  }
  return loaded
}
