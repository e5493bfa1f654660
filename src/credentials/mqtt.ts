import { createSecureContext } from 'node:tls'
import { z } from 'zod'
import { defineCredential } from '../core/credential.ts'
import { SluiceError } from '../core/errors.ts'
import { saidBy } from './said-by.ts'

const pem = (what: string, example: string) =>
  z.string().regex(/^\s*-----BEGIN /, `must be ${what} as PEM text; write \${file:${example}} to take it from a file`)

/** The credential type `mqtt`: user and password, a client certificate with its key, or both. */
export const mqtt = defineCredential({
  type: 'mqtt',
  summary: 'MQTT user and password, or a client certificate and its key as PEM text, or both.',
  settings: z
    .strictObject({
      username: z.string().min(1).exactOptional(),
      password: z.string().exactOptional(),
      /** The chain, the client's own certificate first. */
      certificate: pem('a certificate', 'client.pem').exactOptional(),
      key: pem('a private key', 'client.key').exactOptional(),
    })
    .superRefine(({ username, password, certificate, key }, context) => {
      const complain = (path: string, message: string) =>
        context.addIssue({ code: 'custom', path: path === '' ? [] : [path], message })
      if (username === undefined && certificate === undefined && key === undefined && password === undefined) {
        complain('', 'needs username and password, or certificate and key')
      }
      // [MQTT-3.1.2-22], which MQTT 5 has dropped and 3.1.1 has not.
      if (password !== undefined && username === undefined) complain('password', 'needs a username')
      if (certificate !== undefined && key === undefined) complain('certificate', 'needs the key that belongs to it')
      if (key !== undefined && certificate === undefined) complain('key', 'needs the certificate that it belongs to')
    }),
  async open(settings) {
    const { certificate, key } = settings
    if (certificate !== undefined && key !== undefined) proveTogether(certificate, key)
    return { use: 'mqtt', ...settings }
  },
})

/** Refuses at start what would only show as a broken handshake. */
function proveTogether(cert: string, key: string): void {
  try {
    createSecureContext({ cert, key })
  } catch (error) {
    const message = `the client certificate and its key cannot be used together: ${saidBy(error)}`
    throw new SluiceError('CREDENTIAL_FAILED', message, { cause: error })
  }
}
