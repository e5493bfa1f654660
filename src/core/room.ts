import type { Delivery } from './message.ts'

/** What becomes of a message for a worker whose backlog is full; the latter two lose messages, so the config must ask for them by name. */
export type WhenFull = 'refuse' | 'drop-oldest' | 'drop-newest'

/** A part of the room that the store has, or bytes. */
export type Share = { readonly share: number } | { readonly bytes: number }

/** How long dead letters stay; what is beyond is dropped, the oldest first, and counted. */
export interface Keep {
  /** Milliseconds since they were given up. */
  readonly age?: number
  readonly messages?: number
  readonly bytes?: number
}

/** What a worker, a rule or a bridge may have in the queue: work, failures and dead letters together. */
export interface BacklogPolicy {
  readonly max: Share
  readonly whenFull: WhenFull
  /** Absent: dead letters stay until somebody puts them back or throws them away. */
  readonly keep?: Keep
}

/** Why a message that was acknowledged, or that came to a full worker, was let fall, as the config said by name. */
export type DropReason = 'full' | 'kept-age' | 'kept-messages' | 'kept-bytes'

/** Something that was let fall. */
export interface Drop {
  /** The worker, or `rule:<name>`, `bridge:<name>`. */
  readonly owner: string
  readonly reason: DropReason
  /** What the messages were: of which rule's which action, as far as it is known. */
  readonly entries: readonly { readonly rule: string; readonly action: number }[]
}

/** Called for everything that is let fall, after it is gone: the one place where what falls out is counted. */
export type OnDropped = (dropped: Drop) => void

/** What goes in, and what is let fall: to be counted when the other is durable, for until then all of it may come again. */
export interface Admitted {
  readonly deliveries: readonly Delivery[]
  readonly dropped: readonly Drop[]
}

const nothing: readonly Drop[] = []

/** Takes out deliveries for workers that let fall what is new. For what has been asked about by `complain` before. */
export function admit(deliveries: readonly Delivery[], room: Room): Admitted {
  if (!deliveries.some(({ worker }) => room.dropsNewest(worker))) return { deliveries, dropped: nothing }
  return {
    deliveries: deliveries.filter(({ worker }) => !room.dropsNewest(worker)),
    dropped: deliveries.flatMap(({ worker, rule, action }): Drop[] =>
      room.dropsNewest(worker) ? [{ owner: worker, reason: 'full', entries: [{ rule, action }] }] : [],
    ),
  }
}

/** Whether more may be added. Asking costs a look at a variable while nothing is full. */
export interface Room {
  /** Why nothing may be added for one of these owners now, in words for a publisher; undefined: it may. */
  complain(owners: Iterable<string>): string | undefined
  /** Whether what is new for this owner is let fall now. */
  dropsNewest(owner: string): boolean
  /** Something is on its way into a queue of this owner: bytes as they go out. */
  adding(owner: string, bytes: number): void
}

/** There is always room: for commands and tests. */
export const endlessRoom: Room = { complain: () => undefined, dropsNewest: () => false, adding() {} }
