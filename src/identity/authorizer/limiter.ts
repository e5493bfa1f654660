import { CallFailed } from './call-failed.ts'

/** Runs a task when there is room for it. Impatient ones fail where there is none; patient ones wait for their turn. */
export type Limiter = <Result>(patient: boolean, task: () => Promise<Result>) => Promise<Result>

/** At most `most` tasks at a time. */
export function createLimiter(most: number): Limiter {
  const waiting: (() => void)[] = []
  let running = 0
  return async (patient, task) => {
    if (running >= most) {
      if (!patient) throw new CallFailed(`${most} calls are in flight already`)
      // Whoever ends hands its place over, so that nobody slips in between.
      await new Promise<void>((resolve) => waiting.push(resolve))
    } else {
      running += 1
    }
    try {
      return await task()
    } finally {
      const next = waiting.shift()
      if (next === undefined) running -= 1
      else next()
    }
  }
}
