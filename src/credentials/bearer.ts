import { z } from 'zod'
import { defineCredential } from '../core/credential.ts'

/** The credential type `bearer`: `Authorization: Bearer <token>` (RFC 6750), or another scheme that takes one word. */
export const bearer = defineCredential({
  type: 'bearer',
  summary: 'A token, sent as "Authorization: Bearer …".',
  settings: z.strictObject({
    token: z.string().regex(/^[\x21-\x7e]+$/, 'must be one word of visible ASCII, without spaces or line breaks'),
    /** For services with a scheme of their own, such as `Splunk` or `ApiKey`; an RFC 9110 token. */
    scheme: z
      .string()
      .regex(/^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/, 'must be the name of an HTTP authentication scheme')
      .default('Bearer'),
  }),
  async open({ token, scheme }) {
    const headers = { authorization: `${scheme} ${token}` }
    return { use: 'http', headers: async () => headers }
  },
})
