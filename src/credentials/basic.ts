import { z } from 'zod'
import { defineCredential } from '../core/credential.ts'

const withoutControls = z.string().regex(/^[^\p{Cc}]*$/u, 'must hold no control characters')

/** The credential type `basic`: user and password in the form of RFC 7617, as UTF-8. */
export const basic = defineCredential({
  type: 'basic',
  summary: 'User and password, sent as "Authorization: Basic …".',
  settings: z.strictObject({
    username: withoutControls.min(1).regex(/^[^:]*$/, 'must hold no ":" (RFC 7617)'),
    password: withoutControls,
  }),
  async open({ username, password }) {
    const headers = { authorization: `Basic ${Buffer.from(`${username}:${password}`, 'utf8').toString('base64')}` }
    return { use: 'http', headers: async () => headers }
  },
})
