import type { Running } from '../support/process.ts'

/** A process of the world under test, which faults may kill and which then comes back. */
export interface Part {
  readonly name: string
  readonly pid: number
  /** Everything that all its lives printed. */
  output(): string
  /** Ends it by a signal and brings it back after `awayMs`. Two that strike at once take turns. Gives its exit code. */
  restart(signal: NodeJS.Signals, awayMs: number): Promise<number | null>
  /** Sends a signal without waiting for anything. */
  signal(signal: NodeJS.Signals): void
  stop(): Promise<number | null>
}

/** Longest that a fault keeps a part from starting again, with room. */
const comebackMs = 30_000

/** `begin` starts one life and resolves when it is ready. */
export async function startPart(name: string, begin: () => Promise<Running>): Promise<Part> {
  let running = await begin()
  let before = ''
  let turn: Promise<unknown> = Promise.resolve()
  const inTurn = <T>(act: () => Promise<T>): Promise<T> => {
    const acting = turn.then(act)
    turn = acting.catch(() => {})
    return acting
  }
  return {
    name,
    get pid() {
      return running.child.pid ?? 0
    },
    output: () => before + running.output(),
    restart: (signal, awayMs) =>
      inTurn(async () => {
        const code = await running.stop(signal)
        before += running.output()
        await new Promise((resolve) => setTimeout(resolve, awayMs))
        running = await again(begin)
        return code
      }),
    signal: (signal) => void running.child.kill(signal),
    stop: () => inTurn(() => running.stop()),
  }
}

/** As whatever runs it would: tried on while another fault, a full disk say, keeps it from starting. */
async function again(begin: () => Promise<Running>): Promise<Running> {
  const end = Date.now() + comebackMs
  for (;;) {
    try {
      return await begin()
    } catch (error) {
      if (Date.now() > end) throw error
      await new Promise((resolve) => setTimeout(resolve, 500))
    }
  }
}
