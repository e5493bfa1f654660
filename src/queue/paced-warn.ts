import type { Facts, Log } from '../core/log.ts'

/** Warns once per message and interval, with the number of times it was left unsaid. The messages are our own texts, so there are few. */
export function createPacedWarn(log: Log, everyMs = 10_000, now: () => number = () => performance.now()) {
  const kinds = new Map<string, { said: number; left: number }>()
  return function warn(facts: Facts, message: string): void {
    const time = now()
    const kind = kinds.get(message)
    if (kind !== undefined && time - kind.said < everyMs) {
      kind.left += 1
      return
    }
    log.warn(kind !== undefined && kind.left > 0 ? { ...facts, leftOut: kind.left } : facts, message)
    kinds.set(message, { said: time, left: 0 })
  }
}
