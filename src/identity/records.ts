import type { NamedPolicy, Thing } from '../core/directory.ts'

/** AWS IoT's states of a certificate (aws-security §3), but those of transfer between accounts. */
export type CertificateStatus = 'ACTIVE' | 'INACTIVE' | 'REVOKED' | 'PENDING_ACTIVATION'

/** A certificate that came by itself (JITR, JITP) or was registered with the command line; it is a principal, and this is its entry. */
export interface CertificateRecord {
  /** SHA-256 of the DER, 64 lower-case hex digits: the principal's name and id. */
  readonly fingerprint: string
  readonly status: CertificateStatus
  readonly thing?: string
  readonly policies: readonly string[]
  /** The name of the certificate authority in identity/ that it came by. */
  readonly authority?: string
  /** Milliseconds since 1970. */
  readonly registeredAt: number
}

/**
 * What ingest keeps of identities in the queue's store: registered by JITR, JITP and the command line, beside the files, which
 * win. A view that follows what all ingests write; reading is synchronous and never waits for the store.
 */
export interface Records {
  certificate(fingerprint: string): CertificateRecord | undefined
  certificates(): Iterable<CertificateRecord>
  thing(name: string): Thing | undefined
  things(): Iterable<Thing>
  policy(name: string): NamedPolicy | undefined
  /** Writes a certificate if it still is as `before` (undefined: not there). False where somebody else was faster: look again. Rejects when the store is away. */
  putCertificate(record: CertificateRecord, before: CertificateRecord | undefined): Promise<boolean>
  putThing(thing: Thing, before: Thing | undefined): Promise<boolean>
  putPolicy(policy: { readonly name: string; readonly document: unknown }): Promise<boolean>
  /** Takes a certificate out altogether. */
  deleteCertificate(fingerprint: string): Promise<void>
  /** Called after every change, whoever made it, with the principals (fingerprints) and things it is about. */
  onChange(
    listener: (changed: {
      readonly certificates: readonly string[]
      readonly things: readonly string[]
      readonly policies: readonly string[]
    }) => void,
  ): () => void
  close(): void
}

/** Nothing is kept: for commands that only read files. */
export const noRecords: Records = {
  certificate: () => undefined,
  certificates: () => [],
  thing: () => undefined,
  things: () => [],
  policy: () => undefined,
  putCertificate: () => Promise.reject(new Error('there is no store')),
  putThing: () => Promise.reject(new Error('there is no store')),
  putPolicy: () => Promise.reject(new Error('there is no store')),
  deleteCertificate: () => Promise.reject(new Error('there is no store')),
  onChange: () => () => {},
  close() {},
}
