import { z } from 'zod'

/** How a worker trusts a far side whose certificate the system's authorities have not signed. */
export const tlsSettings = z.strictObject({
  /** Trusted instead of the system's authorities, as PEM text. */
  ca: z
    .string()
    .regex(/^\s*-----BEGIN /, 'must be certificates as PEM text; write ${file:ca.pem} to take them from a file')
    .exactOptional(),
  /** The name that the certificate must hold, where that isn't the host of the url. */
  servername: z.string().min(1).exactOptional(),
})
