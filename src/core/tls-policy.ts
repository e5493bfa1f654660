import { getCiphers } from 'node:tls'
import { suggestion } from './nearest.ts'

/** What is spoken under a security policy. */
export interface TlsPolicy {
  readonly minVersion: TlsVersion
  readonly maxVersion: TlsVersion
  /** OpenSSL's names, the preferred first; those of TLS 1.3 begin with `TLS_`. */
  readonly ciphers: readonly string[]
}

export type TlsVersion = 'TLSv1.2' | 'TLSv1.3'

const tls13 = ['TLS_AES_128_GCM_SHA256', 'TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256']

/** The 18 suites of AWS IoT's list, in its order: the first two are the recommended ones (aws-security §1). */
const tls12 = [
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES128-SHA256',
  'ECDHE-RSA-AES128-SHA256',
  'ECDHE-ECDSA-AES128-SHA',
  'ECDHE-RSA-AES128-SHA',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-AES256-SHA384',
  'ECDHE-RSA-AES256-SHA384',
  'ECDHE-RSA-AES256-SHA',
  'ECDHE-ECDSA-AES256-SHA',
  'AES128-GCM-SHA256',
  'AES128-SHA256',
  'AES128-SHA',
  'AES256-GCM-SHA384',
  'AES256-SHA256',
  'AES256-SHA',
]

const only12 = { minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' } as const
const both = { minVersion: 'TLSv1.2', maxVersion: 'TLSv1.3' } as const

/**
 * The security policies by AWS's names (AWS IoT, "Transport security"; aws-security §1). AWS leaves AES128-SHA256 out of
 * `TLS12_1_0_2016_01` on ports 8443 and 8883; a policy here means the same on every port. `1_0` in a name is history:
 * nothing below TLS 1.2 is spoken.
 */
export const tlsPolicies = {
  TLS13_1_3_2022_10: { minVersion: 'TLSv1.3', maxVersion: 'TLSv1.3', ciphers: tls13 },
  TLS13_1_2_2022_10: { ...both, ciphers: [...tls13, ...tls12] },
  TLS12_1_2_2022_10: { ...only12, ciphers: tls12 },
  TLS12_1_0_2016_01: { ...only12, ciphers: tls12 },
  TLS12_1_0_2015_01: { ...only12, ciphers: [...tls12, 'DHE-RSA-AES256-SHA'] },
  TLS13_1_2_2022_01: {
    ...both,
    ciphers: [
      ...tls13.filter((name) => name.includes('AES')),
      ...tls12.filter((name) => name.startsWith('ECDHE-')),
      'AES128-SHA',
      'AES256-SHA',
    ],
  },
} as const satisfies Readonly<Record<string, TlsPolicy>>

export type TlsPolicyName = keyof typeof tlsPolicies

export const tlsPolicyNames = Object.keys(tlsPolicies) as [TlsPolicyName, ...TlsPolicyName[]]

/** What this OpenSSL can serve with a certificate: suites of pre-shared keys and SRP have no use here. Node says the names in lower case. */
const known: ReadonlySet<string> = new Set(
  getCiphers()
    .map((name) => name.toUpperCase())
    .filter((name) => !/(?:^|-)(?:PSK|SRP)-/.test(name)),
)

/** What is wrong with a list of suites, `A:B:C`; empty where nothing is. Only names are taken: no `HIGH`, `!`, `@SECLEVEL`. */
export function complainAboutCiphers(list: string): string[] {
  return list
    .split(':')
    .filter((name) => !known.has(name))
    .map((name) =>
      name === ''
        ? 'must be names of cipher suites with ":" between them'
        : `there is no cipher suite "${name.slice(0, 100)}"${suggestion(name, known)}`,
    )
}

/**
 * A policy with its suites replaced by those of `ciphers`, where given. A version of the policy for which the list has no
 * suite is not spoken. Undefined where none is left.
 */
export function tlsPolicyWith(name: TlsPolicyName, ciphers?: string): TlsPolicy | undefined {
  const policy: TlsPolicy = tlsPolicies[name]
  if (ciphers === undefined) return policy
  const list = ciphers.split(':')
  const has13 = policy.maxVersion === 'TLSv1.3' && list.some(isOfTls13)
  const has12 = policy.minVersion === 'TLSv1.2' && !list.every(isOfTls13)
  if (!has12 && !has13) return undefined
  return { minVersion: has12 ? 'TLSv1.2' : 'TLSv1.3', maxVersion: has13 ? 'TLSv1.3' : 'TLSv1.2', ciphers: list }
}

function isOfTls13(cipher: string): boolean {
  return cipher.startsWith('TLS_')
}
