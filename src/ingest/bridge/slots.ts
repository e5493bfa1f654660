import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { messageOf } from '../../core/errors.ts'
import type { Log } from '../../core/log.ts'
import type { Store } from '../../core/queue.ts'
import { clientIdOf, filtersKey } from './client-id.ts'

export interface SlotOptions {
  readonly store: Store
  /** The bridge's name. */
  readonly bridge: string
  readonly leaseMs: number
  /** One slot is all there is: whoever has it has the bridge, and the others wait for as long as that takes. */
  readonly standby?: boolean
  /** Called once when others have what this one waits for. */
  readonly onWaiting?: (why: string) => void
  readonly signal: AbortSignal
  readonly log: Log
}

/** A place among the ingests that have a bridge in common; its number makes the client id. */
export interface Slot {
  readonly number: number
  /** Resolves when somebody else has the slot, because we could not renew it in time. */
  readonly lost: Promise<void>
  /**
   * Gives the slot back. `leave` is called before with whether others share the bridge, and no other ingest leaves at the
   * same time: so of several that stop together, one is the last and knows it.
   */
  release(leave?: (others: boolean) => Promise<void>): Promise<void>
}

/**
 * Takes a free slot: one whose session an ingest that died has left at the broker, otherwise the lowest. Where slots with a
 * session are taken, waits as long as a lease lasts for one of them to become free: an ingest that replaces one that has just died must
 * get its slot, and with it the messages that wait there. Throws when the signal aborts; waits for a store that is away.
 */
export async function takeSlot(options: SlotOptions): Promise<Slot> {
  const { leaseMs, standby = false, onWaiting, signal, log } = options
  const holder = randomUUID()
  const waitUntil = performance.now() + leaseMs * 1.2
  let waiting = false
  for (;;) {
    signal.throwIfAborted()
    try {
      const number = standby
        ? await takeOnly(options, holder)
        : await tryTake(options, holder, performance.now() < waitUntil)
      if (number !== undefined) {
        log.info({ slot: number }, standby ? 'this ingest has the bridge' : 'took a slot of the shared bridge')
        return hold(options, holder, number)
      }
      if (!waiting) {
        const why = standby
          ? 'another ingest has the bridge; standing by'
          : 'other ingests share the bridge; waiting whether one of them has died'
        log.info({ leaseMs }, why)
        onWaiting?.(why)
      }
    } catch (error) {
      if (!waiting) log.warn({ error: messageOf(error) }, 'no slot of the bridge yet: the store is away')
    }
    waiting = true
    await sleep(Math.min(leaseMs / 10, 1000), undefined, { signal })
  }
}

/** Undefined: another has it. */
async function takeOnly({ store, bridge, leaseMs }: SlotOptions, holder: string): Promise<number | undefined> {
  const number = 1
  return (await store.lease(slotKey(bridge, number), holder, leaseMs)) ? number : undefined
}

/** Undefined: slots with a session are taken, and `patient` wants to see whether they stay so. */
async function tryTake(options: SlotOptions, holder: string, patient: boolean): Promise<number | undefined> {
  const { store, bridge, leaseMs } = options
  const highest = await highestSlot(store, bridge)
  let taken = false
  for (let number = 1; number <= highest; number += 1) {
    if ((await store.get(filtersKey(clientIdOf(bridge, number)))) === undefined) continue
    if (await store.lease(slotKey(bridge, number), holder, leaseMs)) return number
    taken = true
  }
  if (taken && patient) return undefined
  for (let number = 1; number <= mostSlots; number += 1) {
    if (!(await store.lease(slotKey(bridge, number), holder, leaseMs))) continue
    if (number > highest) await store.set(highestKey(bridge), number)
    return number
  }
  return undefined
}

/** Others count slots up to the highest; a store that has gone back in time may not know ours. */
async function rememberSlot(store: Store, bridge: string, number: number): Promise<void> {
  if (number > (await highestSlot(store, bridge))) await store.set(highestKey(bridge), number)
}

function hold({ store, bridge, leaseMs, log }: SlotOptions, holder: string, number: number): Slot {
  const key = slotKey(bridge, number)
  const leaving = `bridge/${bridge}/leaving`
  let tellLost: () => void
  const lost = new Promise<void>((resolve) => (tellLost = resolve))
  const renewal = setInterval(() => void renew(), leaseMs / 3)
  let released = false
  store.onReturn(() => {
    if (!released) void renew().then(() => rememberSlot(store, bridge, number).catch(() => {}))
  })

  async function renew(): Promise<void> {
    try {
      if (await store.lease(key, holder, leaseMs)) return
      clearInterval(renewal)
      tellLost()
    } catch (error) {
      // While the store is away nobody else can take the slot either.
      log.debug({ error: messageOf(error) }, 'the slot could not be renewed')
    }
  }

  async function others(): Promise<boolean> {
    const highest = await highestSlot(store, bridge)
    for (let other = 1; other <= highest; other += 1) {
      if (other === number) continue
      if (!(await store.lease(slotKey(bridge, other), holder, leaseMs))) return true
      await store.release(slotKey(bridge, other), holder)
    }
    return false
  }

  return {
    number,
    lost,
    async release(leave) {
      try {
        if (leave !== undefined) {
          while (!(await store.lease(leaving, holder, leaseMs * 3))) await sleep(50)
          await leave(await others())
        }
      } finally {
        released = true
        clearInterval(renewal)
        await store.release(key, holder)
        if (leave !== undefined) await store.release(leaving, holder)
      }
    },
  }
}

/** Nobody has more ingests; a store that answers nonsense must not make us count for ever. */
const mostSlots = 1_000

async function highestSlot(store: Store, bridge: string): Promise<number> {
  const highest = await store.get<unknown>(highestKey(bridge))
  return typeof highest === 'number' && Number.isSafeInteger(highest) ? Math.min(Math.max(highest, 0), mostSlots) : 0
}

/** The client ids of all slots that were ever taken. */
export async function slotIds(store: Store, bridge: string): Promise<readonly string[]> {
  const highest = await highestSlot(store, bridge)
  return Array.from({ length: highest }, (_, index) => clientIdOf(bridge, index + 1))
}

/** Where the lease of a client id's slot is; undefined where it is none of a slot. */
export function slotKeyOf(bridge: string, clientId: string): string | undefined {
  const number = Number(/-(?<number>[1-9]\d{0,3})$/.exec(clientId)?.groups?.['number'])
  return clientId === clientIdOf(bridge, number) ? slotKey(bridge, number) : undefined
}

function highestKey(bridge: string): string {
  return `bridge/${bridge}/slots`
}

function slotKey(bridge: string, number: number): string {
  return `bridge/${bridge}/slot/${number}`
}
