import { post } from './sluice.ts'

export interface Load {
  /** Bodies that were answered 200, and so must come out. */
  readonly acknowledged: Set<string>
  /** Other answers by status; 0: no answer. */
  readonly others: Map<number, number>
  /** Ends it; resolves when the last request has its answer, or none. */
  stop(): Promise<void>
}

/** Publishes `{"n":0}`, `{"n":1}`, … to the HTTP door, `lanes` at once, until it is stopped. */
export function startLoad(port: number, token: string, topic: string, lanes = 8): Load {
  const acknowledged = new Set<string>()
  const others = new Map<number, number>()
  let n = 0
  const ending = new AbortController()
  const running = Array.from({ length: lanes }, async () => {
    while (!ending.signal.aborted) {
      const body = JSON.stringify({ n: (n += 1) })
      const status = await post(port, token, topic, body).then(
        (answer) => answer.status,
        () => 0,
      )
      if (status === 200) acknowledged.add(body)
      else others.set(status, (others.get(status) ?? 0) + 1)
      // A door that is closed answers at once; the others need the processor.
      if (status === 0) await new Promise((resolve) => setTimeout(resolve, 20))
    }
  })
  return {
    acknowledged,
    others,
    async stop() {
      ending.abort()
      await Promise.all(running)
    },
  }
}
