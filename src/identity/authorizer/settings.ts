import { X509Certificate } from 'node:crypto'
import { accessSync, constants } from 'node:fs'
import { z } from 'zod'
import { messageOf } from '../../core/errors.ts'
import { filePath } from '../../core/file-path.ts'
import { fileText } from '../../core/file-text.ts'
import type { PartComplaint } from '../../core/identity-part.ts'
import { bytes, duration } from '../../core/units.ts'
import { readSigningKey } from './signature.ts'
import { readWebhookSecret } from './webhook.ts'

/** Lines of one kind in the log in ten seconds: what a function prints is worth more than five. */
export const linesPerKind = 20

/** Names under which a request says which authorizer it wants, and signs its token (AWS IoT, "Custom authentication"). */
export const nameParameter = 'x-amz-customauthorizer-name'
export const signatureParameter = 'x-amz-customauthorizer-signature'

const mebibyte = 1024 ** 2

const url = z.string().superRefine((text, context) => {
  const complain = (message: string) => context.addIssue({ code: 'custom', message })
  const parsed = URL.parse(text)
  if (parsed === null || !/^https?:$/.test(parsed.protocol)) return complain('must be an address: https://host/path')
  if (parsed.username !== '' || parsed.password !== '') return complain('must not hold a user or password')
  if (parsed.hash !== '') return complain('must not hold a "#": it is never sent')
  if (parsed.protocol === 'http:' && !isLoopback(parsed.hostname)) {
    complain(
      'must begin with https:// : what devices show as their proof travels to it. http:// is for this machine only',
    )
  }
})

const secret = z.string().superRefine((text, context) => {
  if (readWebhookSecret(text) !== undefined) return
  // The text itself stands in no message.
  context.addIssue({ code: 'custom', message: 'must be whsec_ and the base64 of 24 to 64 random bytes' })
})

/** AWS IoT CreateAuthorizer: tokenKeyName. */
const tokenKeyName = z
  .string()
  .regex(/^[a-zA-Z0-9_-]{1,128}$/, 'must have 1 to 128 letters, digits, "_" or "-"')
  .refine((name) => ![nameParameter, signatureParameter].includes(name.toLowerCase()), 'has a meaning of its own')

/** AWS IoT CreateAuthorizer: tokenSigningPublicKeys. */
const keyName = z.string().regex(/^[a-zA-Z0-9:_-]{1,128}$/, 'must have 1 to 128 letters, digits, ":", "_" or "-"')

/** An entry of `authorizers:` in identity/, by the names of AWS IoT's CreateAuthorizer where it has them. */
export const authorizerSettings = z
  .strictObject({
    /** AWS IoT CreateAuthorizer: authorizerName. */
    name: z
      .string()
      .regex(/^[\w=,@-]{1,128}$/, 'must have 1 to 128 letters, digits or any of _ = , @ -')
      // `bridge:NAME` is the principal of a bridge, and what `worker:NAME` publishes is kept from that worker.
      .refine((name) => name !== 'bridge', 'must not be "bridge": bridges are principals of such names')
      .refine((name) => name !== 'worker', 'must not be "worker": workers are principals of such names'),
    /** Is asked by HTTP: POST with the event, answered with AWS's response. */
    url: url.exactOptional(),
    /** Trusted for `url` instead of the system's authorities: PEM text or a file. */
    ca: fileText().exactOptional(),
    /** Signs our requests to `url`, so that the receiver knows whose they are (Standard Webhooks). */
    secret: secret.exactOptional(),
    /** A JavaScript file that exports `handler(event, context)`; runs in a process of its own. */
    module: filePath().exactOptional(),
    status: z.enum(['ACTIVE', 'INACTIVE']).default('ACTIVE'),
    /** Whether it is asked about those who name none. */
    default: z.boolean().default(false),
    /** Where the token stands: the name of a header, a query parameter, or a parameter in the MQTT user name. */
    tokenKeyName: tokenKeyName.exactOptional(),
    /** RSA public keys, 2048 bits and more, as PEM text or files; a signature of any of them is good. */
    tokenSigningPublicKeys: z.record(keyName, fileText()).default({}),
    /** Whether the authorizer is asked only about tokens that are signed (AWS: the opposite of signingDisabled). */
    signing: z.enum(['required', 'disabled']).default('required'),
    /** Whether an answer holds for further requests of the same HTTP connection that show the same (AWS: enableCachingForHttp). */
    cacheForHttp: z.boolean().default(false),
    /** `required`: besides its own check, wants a registered client certificate (AWS: CUSTOM_AUTH_X509). */
    certificate: z.enum(['none', 'required']).default('none'),
    /** For one call. AWS gives a function 5 s. */
    timeout: duration('5s').refine((ms) => ms >= 100 && ms <= 5_000, 'must be between 100ms and 5s'),
    /** The heap of `module`. */
    memory: bytes('64MiB').refine(
      (size) => size >= 32 * mebibyte && size <= 1024 * mebibyte,
      'must be between 32MiB and 1GiB',
    ),
  })
  .superRefine((settings, context) => {
    const complain = (key: string, message: string) => context.addIssue({ code: 'custom', message, path: [key] })
    const { url, module, signing, tokenSigningPublicKeys: keys } = settings
    if (url === undefined && module === undefined) complain('name', 'has neither a url nor a module to be asked')
    if (url !== undefined && module !== undefined)
      complain('module', 'must not stand beside url: which is to be asked?')
    for (const key of ['ca', 'secret'] as const) {
      if (settings[key] !== undefined && url === undefined) complain(key, 'is for a url, and there is none')
    }
    if (settings.ca !== undefined && url?.startsWith('http:') === true) complain('ca', 'is for an https:// url')
    if (signing === 'disabled') {
      if (Object.keys(keys).length > 0) complain('tokenSigningPublicKeys', 'has no use with signing: disabled')
      return
    }
    const instead = 'or signing: disabled, to have it asked about everybody'
    if (settings.tokenKeyName === undefined) complain('tokenKeyName', `is needed to check signatures; ${instead}`)
    if (Object.keys(keys).length === 0) complain('tokenSigningPublicKeys', `needs a key; ${instead}`)
  })

export type AuthorizerSettings = z.output<typeof authorizerSettings>

/** What can be said once files are read. Never throws. */
export function examineAuthorizer(settings: AuthorizerSettings): readonly PartComplaint[] {
  const complaints: PartComplaint[] = []
  const complain = (path: string, message: string) => void complaints.push({ path, message })
  for (const [name, pem] of Object.entries(settings.tokenSigningPublicKeys)) {
    const key = readSigningKey(pem)
    if (typeof key === 'string') complain(`tokenSigningPublicKeys.${name}`, key)
  }
  if (settings.ca !== undefined && !isCertificate(settings.ca)) complain('ca', 'does not hold a certificate')
  if (settings.module !== undefined) {
    try {
      accessSync(settings.module, constants.R_OK)
    } catch (error) {
      complain('module', `cannot be read: ${messageOf(error)}`)
    }
  }
  return complaints
}

function isCertificate(pem: string): boolean {
  try {
    return new X509Certificate(pem).raw.length > 0
  } catch {
    return false
  }
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(host)
}
