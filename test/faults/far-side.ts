import type { Scope } from '../support/cleanup.ts'
import { type Answer, startHttpTarget } from '../support/http-target.ts'

/** The service that the `hook` worker forwards to. */
export interface FarSide {
  readonly url: string
  /** How often each message was taken, by its number. */
  readonly taken: ReadonlyMap<number, number>
  /** Until it is called with undefined: what it answers instead of taking anything. */
  answer(instead: Answer | undefined): void
  /** How long it takes over each answer, in milliseconds. */
  delayMs: number
}

/** Every so many messages, one that the far side never takes: it must end as a dead letter, its neighbours must not. */
const poisonEvery = 97

export function isPoison(n: number): boolean {
  return n % poisonEvery === 13
}

/** Takes JSON arrays of `{"n":…}`; one with a message in it that it never takes it refuses whole, as real services do. */
export async function startFarSide(scope: Scope): Promise<FarSide> {
  const taken = new Map<number, number>()
  let instead: Answer | undefined
  const target = await startHttpTarget(scope)
  const farSide: FarSide = { url: target.url, taken, delayMs: 0, answer: (answer) => (instead = answer) }
  target.answer = async ({ body }) => {
    // Some thousands of bodies are of no further use.
    target.received.length = 0
    if (farSide.delayMs > 0) await new Promise((resolve) => setTimeout(resolve, farSide.delayMs))
    if (instead !== undefined) return instead
    const parsed = JSON.parse(body.toString('utf8')) as { n: number } | { n: number }[]
    const numbers = [parsed].flat().map(({ n }) => n)
    if (numbers.some(isPoison)) return { status: 400, body: 'I never take this' }
    for (const n of numbers) taken.set(n, (taken.get(n) ?? 0) + 1)
    return { status: 200 }
  }
  return farSide
}
