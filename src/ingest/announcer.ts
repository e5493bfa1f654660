import type { Accept, Publish, Speaker } from '../core/access.ts'
import type { Metrics } from '../core/metrics.ts'
import { Unattended } from './unattended.ts'

/** Publishes what Sluice itself has to say (`$aws/events/…`). */
export interface Announcer {
  /** Sends a JSON value to the rules and to those who subscribed; never throws. Events of one topic keep their order. */
  readonly announce: (topic: string, payload: unknown) => void
  /** Waits for those on their way; after `deadlineMs` gives them up. */
  close(deadlineMs: number): Promise<void>
}

export interface AnnouncerOptions {
  /** accept's way in for Sluice itself: no policy, no limit of a principal. */
  readonly accept: Accept
  /** Hands an event to its subscribers, where there is a broker. */
  readonly distribute: (publish: Publish) => void
  readonly metrics: Metrics
}

/** Events that wait while the queue is away: a burst of reconnecting devices, and no more than some megabytes. */
const limits = { most: 10_000, ms: 600_000 }

const speaker: Speaker = { principal: { name: 'sluice', method: 'sluice' }, protocol: 'mqtt' }

export function createAnnouncer({ accept, distribute, metrics }: AnnouncerOptions): Announcer {
  const count = (outcome: string): void => metrics.count('sluice_events_total', { outcome })
  const waiting = new Unattended(accept, limits, () => count('dropped'))

  return {
    announce(topic, payload) {
      // QoS 0: as AWS publishes them. What a rule takes from them is durable all the same.
      const publish: Publish = { topic, payload: Buffer.from(JSON.stringify(payload)), qos: 0, retain: false }
      void waiting.publish(speaker, publish).then((durable) => {
        if (!durable) return
        count('published')
        distribute(publish)
      })
    },
    close: (deadlineMs) => waiting.close(deadlineMs),
  }
}
