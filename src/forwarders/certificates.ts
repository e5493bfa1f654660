/** Whether a TLS handshake failed because we don't trust the certificate: waiting does not mend that. */
export function isCertificateError(error: unknown): boolean {
  const code = (error as { readonly code?: unknown } | null)?.code
  return (
    typeof code === 'string' &&
    /^(?:CERT_|ERR_TLS_CERT_|SELF_SIGNED_CERT|DEPTH_ZERO_|UNABLE_TO_(?:GET_ISSUER|VERIFY_LEAF))/.test(code)
  )
}
