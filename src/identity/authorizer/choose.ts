import type { Presented } from '../../core/access.ts'
import { said, showsAwsCredentials } from './parameters.ts'
import { type AuthorizerSettings, nameParameter } from './settings.ts'

/** Which authorizer is to be asked about somebody. `because` is for our log. */
export type Choice =
  | { readonly kind: 'none' }
  | { readonly kind: 'refused'; readonly because: string; readonly authorizer?: string; readonly named: boolean }
  | { readonly kind: 'ask'; readonly authorizer: string; readonly named: boolean }

/** ALPN names by which a client says that its certificate is all it shows (AWS IoT, "Device communication protocols"). */
const certificateOnly: readonly string[] = ['x-amzn-mqtt-ca', 'x-amzn-http-ca']

const none: Choice = { kind: 'none' }

/**
 * AWS's order (aws-security §5): the one that the request names, else that of the server name (`authorizer.default`), else the
 * default one. Those who show a certificate or an AWS signature are other methods' part, except where the authorizer wants the
 * certificate too: then nobody gets past it by naming another, by signing besides, or by coming over WebSocket (AWS has this kind
 * for MQTT and HTTPS only).
 */
export function choose(authorizers: ReadonlyMap<string, AuthorizerSettings>, presented: Presented): Choice {
  const { tls, http, protocol, clientId } = presented
  const forCertificate = tls?.alpn !== undefined && certificateOnly.includes(tls.alpn)
  const fallback = tls?.authorizer?.default ?? defaultOf(authorizers)
  const withCertificate = tls?.certificate !== undefined
  // Of a WebSocket both stages say the same in their upgrade; what is shown there counts at CONNECT, when all is known.
  const isUpgrade = protocol === 'mqtt-ws' && clientId === undefined
  if (!withCertificate && (isUpgrade || forCertificate || showsAwsCredentials(http))) return none

  const name = forCertificate ? ({ kind: 'nothing' } as const) : said(presented, nameParameter)
  if (name.kind === 'unclear') return refused('the request names several authorizers', true)
  if (name.kind === 'value') {
    const bound = tls?.authorizer
    if (bound?.default !== undefined && !bound.allowOverride && bound.default !== name.value) {
      return refused('the request names another authorizer than that of its server name', true)
    }
    // The name is a stranger's text: it stands in no log until it is known to be one of ours.
    if (!authorizers.has(name.value)) return refused('the request names an authorizer that does not exist', true)
  }
  const named = name.kind === 'value'
  const wanted = named ? name.value : fallback
  if (wanted === undefined) return none
  const settings = authorizers.get(wanted)
  if (settings === undefined) return refused('the authorizer of the server name does not exist', false, wanted)

  if (withCertificate && settings.certificate === 'none') {
    const required = fallback !== undefined && authorizers.get(fallback)?.certificate === 'required'
    return named && required ? refused('the default authorizer wants the certificate too', named, wanted) : none
  }
  if (settings.certificate === 'required') {
    if (!withCertificate) return refused('the authorizer wants a client certificate too', named, wanted)
    if (protocol === 'mqtt-ws') {
      return refused('an authorizer with certificate: required is for MQTT and HTTPS, not for WebSocket', named, wanted)
    }
  }
  if (settings.status !== 'ACTIVE') return refused('the authorizer is INACTIVE', named, wanted)
  return { kind: 'ask', authorizer: wanted, named }
}

function defaultOf(authorizers: ReadonlyMap<string, AuthorizerSettings>): string | undefined {
  for (const [name, settings] of authorizers) if (settings.default) return name
  return undefined
}

function refused(because: string, named: boolean, authorizer?: string): Choice {
  return { kind: 'refused', because, named, ...(authorizer !== undefined && { authorizer }) }
}
