import type { Accept, Accepted, Access, Publish, Speaker } from '../../core/access.ts'
import { newId } from '../../core/id.ts'
import type { Metrics } from '../../core/metrics.ts'
import type { PacedLog } from '../../core/paced-log.ts'
import { isToRule } from '../../core/topic.ts'
import { Outgoing } from './outgoing.ts'
import type { Retained } from './retained.ts'
import type { Sessions } from './sessions.ts'

export interface DistributionOptions {
  readonly access: () => Access
  readonly sessions: Sessions
  readonly retained: Retained
  readonly paced: PacedLog
  readonly metrics: Metrics
  readonly dropped: (reason: 'retained-full') => void
}

/** The way of a message from its acceptance to those who have subscribed. */
export interface Distribution {
  /**
   * Has a message accepted; a retained one only where it can be kept, because its acknowledgement says so. QoS 0 over MQTT is not
   * acknowledged: it is accepted, and not kept [MQTT-3.3.1-7].
   */
  readonly acceptKept: (door: 'mqtt' | 'http', accept: Accept, speaker: Speaker, publish: Publish) => Promise<Accepted>
  /** Hands an accepted message to its subscribers, and keeps it where it is retained. */
  readonly distribute: (publish: Publish) => void
}

export function createDistribution(options: DistributionOptions): Distribution {
  const { access, sessions, retained, paced, metrics, dropped } = options

  /** Where it may not, accept says so. */
  function mayRetain(speaker: Speaker, topic: string): boolean {
    const now = access()
    return now.decide(speaker, 'iot:Publish', topic).allow && now.decide(speaker, 'iot:RetainPublish', topic).allow
  }

  function refuse(door: 'mqtt' | 'http', { principal }: Speaker, topic: string, because: string): Accepted {
    const id = newId()
    metrics.count('sluice_messages_refused_total', { door, reason: 'retained' })
    const facts = {
      traceId: id,
      door,
      principal: principal.name,
      topic: topic.slice(0, 256),
      reason: 'retained',
      because,
    }
    paced.warn(`retained ${principal.name}`, facts, 'refused')
    return { kind: 'refused', id, status: 507, reason: 'retained', message: because }
  }

  return {
    async acceptKept(door, accept, speaker, publish) {
      if (!publish.retain) return accept(speaker, publish)
      const complaint = retained.claim(speaker.principal.name, publish)
      const isAcknowledged = door === 'http' || publish.qos > 0
      if (complaint !== undefined && isAcknowledged && mayRetain(speaker, publish.topic))
        return refuse(door, speaker, publish.topic, complaint)
      const accepted = await accept(speaker, publish)
      if (accepted.kind !== 'accepted') retained.release(publish)
      return accepted
    },

    distribute(publish) {
      const { topic, payload, qos, retain } = publish
      // What went to one rule goes to nobody else.
      if (isToRule(topic)) return retained.release(publish)
      if (retain && !retained.keep(publish)) {
        dropped('retained-full')
        paced.warn('retained', { topic: topic.slice(0, 256) }, 'no room to keep a retained message of QoS 0')
      }
      const message = new Outgoing(topic, payload, false)
      for (const [{ outbound }, granted] of sessions.subscribersOf(topic))
        outbound.deliver(message, qos < granted ? qos : granted)
    },
  }
}
