/** What policies may ask about a client's certificate (AWS, "X.509 Certificate AWS IoT Core policy variables"). */
export interface CertificateFacts {
  /** SHA-256 of the DER, 64 lower-case hex digits. */
  readonly certificateId?: string
  readonly serialNumber?: string
  readonly subject?: CertificateName
  readonly issuer?: CertificateName
}

/** Attribute name → its values in the order of the certificate; `alternativeName` holds the kinds of alternative names. */
export type CertificateName = Readonly<Record<string, readonly string[] | Readonly<Record<string, readonly string[]>>>>
