import type { Failure } from '../core/envelope.ts'
import type { Message } from '../core/message.ts'
import { fromWire } from '../core/wire.ts'

/** What failed, in the words of AWS IoT. */
export interface FailedAction {
  /** `SqsAction`, or `RuleEvaluation` where the rule itself failed. */
  readonly action: string
  /** The worker, or the rule. */
  readonly resource: string
  readonly message: string
}

/**
 * The JSON text that an error action sends: the document of AWS IoT's error actions (developer guide, "Error handling (error
 * action)", message format). Fields that we don't know are left out: `clientId` and `sourceIp` where the door had none,
 * `base64OriginalPayload` where the worker keeps no originals.
 */
export function errorDocument(facts: {
  readonly rule: string
  readonly message: Message
  readonly original: Buffer | undefined
  readonly failed: FailedAction
}): string {
  const { rule, message, original, failed } = facts
  return JSON.stringify({
    ruleName: rule,
    topic: message.topic,
    cloudwatchTraceId: message.id,
    clientId: message.clientId,
    sourceIp: message.sourceIp,
    base64OriginalPayload: original?.toString('base64'),
    failures: [{ failedAction: failed.action, failedResource: failed.resource, errorMessage: failed.message }],
  })
}

/** The message that a failure is about, for the templates of error actions. Its payload is empty where it wasn't kept. */
export function failedMessage({ entry }: Failure): Message {
  const { id, at, topic, qos, retain = false, principal, properties, thing, clientId, sourceIp } = entry
  return {
    id,
    at,
    topic,
    qos,
    retain,
    principal,
    payload: entry.in === undefined ? Buffer.alloc(0) : fromWire(entry.in),
    ...(properties !== undefined && { properties }),
    ...(thing !== undefined && { thing }),
    ...(clientId !== undefined && { clientId }),
    ...(sourceIp !== undefined && { sourceIp }),
  }
}
