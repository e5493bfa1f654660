import type { Accept, Accepted, Publish, RefusalReason, Speaker } from '../../core/access.ts'
import { messageOf } from '../../core/errors.ts'
import { newId } from '../../core/id.ts'
import type { Log } from '../../core/log.ts'
import type { Metrics } from '../../core/metrics.ts'
import { createPacedLog } from '../../core/paced-log.ts'
import { attribute } from './attribute.ts'
import type { BridgeSettings } from './settings.ts'

/** A message that came over a bridge and was not let in. */
export interface RefusedMessage {
  readonly id: string
  readonly speaker: Speaker
  /** As the broker sent it; with the thing, where it could be told. */
  readonly publish: Publish
  readonly reason: RefusalReason
  /** For people, in more words. */
  readonly because: string
  /** Its payload was not kept, because it was too large to be. */
  readonly withoutPayload: boolean
}

export interface HandInOptions {
  readonly settings: Pick<BridgeSettings, 'thing' | 'id'>
  readonly accept: Accept
  /** Resolves when the message is durable where an operator finds it; rejects with QUEUE_AWAY. */
  readonly keepRefused: (refused: RefusedMessage) => Promise<void>
  readonly log: Log
  readonly metrics: Metrics
}

/** What a bridge does with each message. */
export interface HandIn {
  /**
   * Says whose it is and hands it to accept. What is refused is kept before that is answered: the broker will take the answer for an
   * acknowledgement, and forget the message. `oversize`: bytes of a packet whose payload was not kept.
   */
  take(speaker: Speaker, publish: Publish, oversize?: number): Promise<Accepted>
  /** The same for one that was kept under `id`, and stays kept where it is refused again. */
  again(speaker: Speaker, publish: Publish, id: string): Promise<Accepted>
}

const awayMs = 2_000

export function createHandIn({ settings, accept, keepRefused, log, metrics }: HandInOptions): HandIn {
  const paced = createPacedLog(log)
  return {
    async take(speaker, publish, oversize) {
      const answer = await offer(speaker, publish, oversize)
      if (answer.kind !== 'refused') return answer
      const { id, reason, message, because = message } = answer
      const withoutPayload = oversize !== undefined
      try {
        await keepRefused({ id, speaker, publish: answer.publish ?? publish, reason, because, withoutPayload })
        return answer
      } catch (error) {
        paced.warn('keep', { error: messageOf(error) }, 'a refused message could not be kept; it is not acknowledged')
        metrics.count('sluice_messages_deferred_total', { door: 'bridge', status: '503' })
        return { kind: 'later', id, status: 503, afterMs: awayMs, message: 'the queue cannot take messages now' }
      }
    },
    again: (speaker, publish, id) => offer(speaker, publish, undefined, id),
  }

  async function offer(
    speaker: Speaker,
    publish: Publish,
    oversize: number | undefined,
    id?: string,
  ): Promise<Accepted & { readonly publish?: Publish }> {
    if (oversize !== undefined)
      return refuse(publish, 'size', `the packet has ${oversize} bytes, more than the bridge keeps`)
    const found = attribute(publish, settings)
    const attributed = found instanceof Promise ? await found : found
    if ('because' in attributed) return refuse(publish, 'request', attributed.because)
    const answer = await accept(speaker, attributed.publish, id)
    return answer.kind === 'refused' ? { ...answer, publish: attributed.publish } : answer
  }

  function refuse({ topic }: Publish, reason: 'request' | 'size', because: string): Accepted {
    metrics.count('sluice_messages_refused_total', { door: 'bridge', reason })
    paced.warn(`refused ${reason}`, { topic: topic.slice(0, 256), reason, because }, 'refused')
    return { kind: 'refused', id: newId(), status: reason === 'size' ? 413 : 400, reason, message: because }
  }
}
