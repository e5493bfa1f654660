import { randomUUID } from 'node:crypto'
import type { IConnectPacket } from 'mqtt-packet'
import type { Access, Presented, Principal, Publish, Speaker, Verdict } from '../../core/access.ts'
import { messageOf } from '../../core/errors.ts'
import type { Log } from '../../core/log.ts'
import type { Metrics } from '../../core/metrics.ts'
import { complainAboutTopicName } from '../../core/topic.ts'
import type { PacedLog } from '../../core/paced-log.ts'
import type { RateLimiter } from '../limits.ts'
import { presentedBy } from './arrival.ts'
import type { BrokerConnection } from './connection.ts'
import type { BrokerLimits } from './limits.ts'
import type { Retained } from './retained.ts'
import type { Opened, Sessions } from './sessions.ts'

export interface AdmissionOptions {
  readonly access: () => Access
  readonly sessions: Sessions
  /** Where the last will has its room from now on, if it is to be retained. */
  readonly retained: Retained
  readonly limits: BrokerLimits
  readonly log: Log
  readonly paced: PacedLog
  readonly metrics: Metrics
  /** How often a client id may connect. */
  readonly connects: RateLimiter
  /** Milliseconds since 1970. */
  readonly now: () => number
}

/** CONNACK return codes (MQTT 3.1.1 table 3.1). */
const connack = { version: 1, clientId: 2, unavailable: 3, credentials: 4, denied: 5 } as const

/** What a CONNECT asks for, beside who it is. */
interface ConnectRequest {
  readonly clientId: string
  readonly clean: boolean
  readonly will: Publish | undefined
}

/** Why a CONNECT is refused: the return code, and the reason for our log. */
class Refusal extends Error {
  readonly code: number
  constructor(code: number, reason: string) {
    super(reason)
    this.code = code
  }
}

/**
 * Decides a CONNECT: client id, credentials, `iot:Connect`, the last will (a will is a publish that is only delayed, so it is
 * authorized here and once more when it is published, and one that is to be retained gets its room here), the session. Sets
 * speaker, session and will of the connection, and gives the session; or the return code of a CONNECT that is refused.
 *
 * 4 is for credentials, unknown and wrong and missing alike; 5 for policies, as MQTT 3.1.1 has it (AWS IoT's page of 2022
 * says 7, which the standard reserves; the sentence is gone from today's page, aws-security §8); 3 for no room.
 */
export async function admit(
  connection: BrokerConnection,
  packet: IConnectPacket,
  options: AdmissionOptions,
): Promise<Opened | number> {
  const { sessions, limits, retained } = options
  const request = requestOf(packet)
  let principal: Principal | undefined
  try {
    checkVersion(packet)
    checkClientId(request, limits)
    const presented = presentedBy(connection.arrival, {
      clientId: request.clientId,
      ...(packet.username !== undefined && { username: packet.username }),
      // Its own copy: the one we got is a view on the packet.
      ...(packet.password !== undefined && { password: Buffer.from(packet.password) }),
    })
    principal = await principalOf(connection.arrival.principal, presented, options)
    if (principal.until !== undefined && principal.until <= options.now())
      throw new Refusal(connack.credentials, 'the credential has expired')
    const speaker = speakerOf(principal, connection, request)
    authorize(speaker, request, options)
    // After the policy, so that nobody but who may use the client id can use it up.
    if (options.connects.take(request.clientId, 0) > 0)
      throw new Refusal(connack.unavailable, 'this client id connects too often')
    // Who may use a client id is policy's business; the session of another principal is not for this one, see Sessions.open.
    await endOther(sessions, request.clientId)
    // From here to the end nothing is waited for: of two that come at once, one has the session before the other looks.
    if (connection.destroyed) return connack.unavailable
    const noRoom = request.will && retained.claim(principal.name, request.will)
    if (noRoom !== undefined) throw new Refusal(connack.unavailable, `last will: ${noRoom}`)
    connection.will = request.will
    const opened = sessions.open(request.clientId, principal.name, request.clean)
    if (opened === undefined) throw new Refusal(connack.unavailable, 'no room for another session')
    connection.clientId = request.clientId
    connection.presented = presented
    connection.speaker = speaker
    connection.session = opened.session
    opened.session.holder = connection
    return opened
  } catch (error) {
    const refusal = error instanceof Refusal ? error : new Refusal(connack.unavailable, messageOf(error))
    if (!(error instanceof Refusal)) options.log.error({ error: messageOf(error) }, 'admission failed by itself')
    const facts = {
      door: 'mqtt',
      sourceIp: connection.arrival.sourceIp,
      clientId: request.clientId.slice(0, 128),
      ...(principal !== undefined && { principal: principal.name }),
    }
    options.paced.warn(
      `connect ${refusal.code}`,
      { ...facts, returnCode: refusal.code, because: refusal.message },
      'connection refused',
    )
    return refusal.code
  }
}

function requestOf({ clientId, clean = true, will }: IConnectPacket): ConnectRequest {
  return {
    // One that sent none gets one [MQTT-3.1.3-6]; policies decide on it like on any other.
    clientId: clientId === '' && clean ? `auto-${randomUUID()}` : clientId,
    clean,
    will: will && {
      topic: will.topic,
      // A copy, which doesn't hold the whole packet for as long as the client is connected.
      payload: Buffer.from(will.payload),
      qos: will.qos ?? 0,
      retain: will.retain === true,
    },
  }
}

/** Ends the connection that has a client id now [MQTT-3.1.4-2]; resolves when nothing of it is left. */
async function endOther(sessions: Sessions, clientId: string): Promise<void> {
  for (let other = sessions.get(clientId)?.holder; other !== undefined; other = sessions.get(clientId)?.holder) {
    other.endedFor ??= 'taken-over'
    await other.close()
  }
}

/** 3.1.1, and 3.1 with its shorter client ids (MQTT 3.1 §3.1). */
function checkVersion({ protocolVersion, clientId }: IConnectPacket): void {
  if (protocolVersion !== 3 && protocolVersion !== 4)
    throw new Refusal(connack.version, `MQTT of version ${protocolVersion}`) // [MQTT-3.1.2-2]
  if (protocolVersion === 3 && clientId.length > 23)
    throw new Refusal(connack.clientId, `a client id of ${clientId.length} characters, over MQTT 3.1`)
}

/** AWS IoT's client ids: at most 128 bytes, none that starts with `$` (aws-security §8). */
function checkClientId({ clientId }: ConnectRequest, limits: BrokerLimits): void {
  // [MQTT-3.1.3-8]; one with a clean session has been given an id before.
  if (clientId === '') throw new Refusal(connack.clientId, 'an empty client id with a session to keep')
  if (clientId.startsWith('$')) throw new Refusal(connack.clientId, 'the client id starts with $')
  if (/[\0\uFFFD]/.test(clientId)) throw new Refusal(connack.clientId, 'the client id is not UTF-8 or has U+0000')
  const bytes = Buffer.byteLength(clientId)
  if (bytes > limits.clientIdBytes) throw new Refusal(connack.clientId, `a client id of ${bytes} bytes`)
}

/** Who it is. What an upgrade has proved may be seconds ago: whether it is still good is asked now. */
async function principalOf(
  proved: Principal | undefined,
  presented: Presented,
  options: AdmissionOptions,
): Promise<Principal> {
  if (proved === undefined) return authenticate(presented, options)
  const verdict = await options.access().renew(presented, proved)
  if (verdict.kind === 'principal' && verdict.principal.name === proved.name) return verdict.principal
  throw new Refusal(connack.credentials, 'what its upgrade showed is not good any more')
}

async function authenticate(presented: Presented, { access, metrics }: AdmissionOptions): Promise<Principal> {
  const verdict = await access().authenticate(presented)
  if (verdict.kind === 'principal') return verdict.principal
  if (verdict.kind === 'refused' && verdict.afterMs !== undefined) {
    metrics.count('sluice_authentications_limited_total', { door: 'mqtt' })
    throw new Refusal(connack.unavailable, verdict.reason)
  }
  metrics.count('sluice_authentications_failed_total', { door: 'mqtt' })
  throw new Refusal(connack.credentials, verdict.kind === 'refused' ? verdict.reason : 'no credentials')
}

function speakerOf(
  principal: Principal,
  { arrival: { protocol, sourceIp, tls } }: BrokerConnection,
  { clientId, clean, will }: ConnectRequest,
): Speaker {
  const connectAttributes = [...(clean ? [] : ['PersistentConnect']), ...(will === undefined ? [] : ['LastWill'])]
  return {
    principal,
    protocol,
    clientId,
    connectAttributes,
    ...(sourceIp !== undefined && { sourceIp }),
    ...(tls?.serverName !== undefined && { serverName: tls.serverName }),
    ...(will !== undefined && { lastWillTopic: will.topic }),
  }
}

function authorize(speaker: Speaker, { clientId, will }: ConnectRequest, options: AdmissionOptions): void {
  const access = options.access()
  const { topicBytes: bytes, topicLevels: levels } = options.limits
  const connect = access.decide(speaker, 'iot:Connect', clientId)
  if (!connect.allow) throw new Refusal(connack.denied, connect.because)
  if (will === undefined) return
  const complaint = complainAboutTopicName(will.topic, { bytes, levels })
  if (complaint !== undefined) throw new Refusal(connack.denied, `last will: ${complaint}`)
  const publish = access.decide(speaker, 'iot:Publish', will.topic)
  if (!publish.allow) throw new Refusal(connack.denied, `last will: ${publish.because}`)
  if (!will.retain) return
  const retain = access.decide(speaker, 'iot:RetainPublish', will.topic)
  if (!retain.allow) throw new Refusal(connack.denied, `last will: ${retain.because}`)
}

/**
 * Whether a connection may stay, now that identities or policies have changed or its credential wants to be looked at again: the
 * method that let it in is asked, and then `iot:Connect` with all it had at CONNECT. Its principal's facts are renewed. Undefined
 * where it may, otherwise why not.
 */
export async function complainAboutStaying(connection: BrokerConnection, access: Access): Promise<string | undefined> {
  const { speaker, presented } = connection
  if (speaker === undefined || presented === undefined) return undefined
  const verdict: Verdict = await access.renew(presented, speaker.principal)
  if (verdict.kind !== 'principal' || verdict.principal.name !== speaker.principal.name)
    return 'its credential is not good any more'
  connection.speaker = { ...speaker, principal: verdict.principal }
  const connect = access.decide(connection.speaker, 'iot:Connect', connection.clientId)
  return connect.allow ? undefined : `it may not connect any more: ${connect.because}`
}
