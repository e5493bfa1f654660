import { SluiceError } from '../core/errors.ts'
import { delivered, type Outcome } from '../core/outcome.ts'
import type { Closed } from '../mqtt/link.ts'
import { BrokerRefusedError, describeReason, sessionTakenOver } from '../mqtt/refusal.ts'
import { blocked, failed, rejected, unanswered } from './outcomes.ts'
import { saidBy } from './text.ts'

/**
 * What a PUBACK's reason code means (MQTT 5 §3.4.2.1). `alone`: this worker has published to no other topic, so when it may not
 * publish to this one nothing can be delivered. Otherwise topics come from messages, and one that is not allowed is that message's affair.
 */
export function outcomeOfPuback(reason: number, alone: boolean): Outcome {
  if (reason < 0x80) return delivered // 0x00, and 0x10: nobody has subscribed
  const text = `the broker answered: ${describeReason(reason)}`
  if (reason === 0x87) return alone ? blocked(text) : rejected(text)
  if (reason === 0x90 || reason === 0x99) return rejected(text)
  if (reason === 0x97 || reason === 0x91) return unanswered(text)
  return failed(text)
}

/** What became of all messages when there is no connection to be had. */
export function outcomeOfRefusal(error: unknown): Outcome {
  const reason = saidBy(error)
  if (error instanceof BrokerRefusedError) return error.kind === 'busy' ? unanswered(reason) : blocked(reason)
  const needsSomeone = error instanceof SluiceError && error.code === 'CREDENTIAL_FAILED'
  return needsSomeone ? blocked(reason) : unanswered(reason)
}

/** What became of messages on their way when the connection ended: whether the broker has them is not known. */
export function outcomeOfLoss({ code, reason }: Closed): Outcome {
  if (code === sessionTakenOver) return blocked('another client has connected with the client id of this worker')
  return unanswered(saidBy(reason))
}

/** DISCONNECT codes that say something about a packet of ours, and not about the broker or the connection. */
const aboutPacket: ReadonlySet<number> = new Set([0x80, 0x81, 0x82, 0x83, 0x87, 0x90, 0x95, 0x99, 0x9a, 0x9b])

/** Whether a connection may have been closed for what we sent. MQTT 3.1.1 has no other way to refuse a message, and says nothing. */
export function blamesUs({ by, code }: Closed): boolean {
  return by === 'broker' && (code === undefined || aboutPacket.has(code))
}
