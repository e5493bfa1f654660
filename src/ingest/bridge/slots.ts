import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { messageOf } from '../../core/errors.ts'
import type { Log } from '../../core/log.ts'
import type { Store } from '../../core/queue.ts'

export interface SlotOptions {
  readonly store: Store
  /** The bridge's name. */
  readonly bridge: string
  readonly leaseMs: number
  readonly signal: AbortSignal
  readonly log: Log
}

/** A place among the ingests that share a bridge; its number makes the client id. */
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
 * Takes the lowest free slot. Where one is taken, waits as long as a lease lasts for one to become free: an ingest that
 * replaces one that has just died must get its slot, and with it its session and the messages in it, and not a new one.
 * Throws when the signal aborts; waits for a store that is away.
 */
export async function takeSlot(options: SlotOptions): Promise<Slot> {
  const { store, bridge, leaseMs, signal, log } = options
  const holder = randomUUID()
  const since = performance.now()
  let waiting = false
  for (;;) {
    signal.throwIfAborted()
    try {
      const highest = await highestSlot(store, bridge)
      const settled = performance.now() - since > leaseMs * 1.2
      const number = await lowestFree(options, holder, settled ? Infinity : highest || Infinity)
      if (number !== undefined) {
        if (number > highest) await store.set(highestKey(bridge), number)
        log.info({ slot: number }, 'took a slot of the shared bridge')
        return hold(options, holder, number)
      }
      if (!waiting) log.info({ waitMs: leaseMs }, 'all slots are taken; waiting whether one of them is of an ingest that died')
    } catch (error) {
      if (!waiting) log.warn({ error: messageOf(error) }, 'no slot of the shared bridge yet: the store is away')
    }
    waiting = true
    await sleep(Math.min(leaseMs / 10, 1000), undefined, { signal })
  }
}

async function lowestFree(
  { store, bridge, leaseMs }: SlotOptions,
  holder: string,
  highest: number,
): Promise<number | undefined> {
  for (let number = 1; number <= Math.min(highest, mostSlots); number += 1) {
    if (await store.lease(slotKey(bridge, number), holder, leaseMs)) return number
  }
  return undefined
}

function hold({ store, bridge, leaseMs, log }: SlotOptions, holder: string, number: number): Slot {
  const key = slotKey(bridge, number)
  const leaving = `bridge/${bridge}/leaving`
  let tellLost: () => void
  const lost = new Promise<void>((resolve) => (tellLost = resolve))
  const renewal = setInterval(() => void renew(), leaseMs / 3)

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

function highestKey(bridge: string): string {
  return `bridge/${bridge}/slots`
}

function slotKey(bridge: string, number: number): string {
  return `bridge/${bridge}/slot/${number}`
}
