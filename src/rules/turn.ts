import { setImmediate } from 'node:timers/promises'

/** Milliseconds after which other work of the process gets a turn: short against every timeout and keepalive there is. */
const slice = 10

const waiting: (() => Promise<void>)[] = []
let running = false

/**
 * Runs evaluations one after the other, and lets sockets and timers in between. jsonata never waits for anything but
 * itself, so nothing is lost; and an evaluation's time is its own, what it keeps in its compiled expression (`$now()`,
 * positions of errors, our count of steps) isn't shared, and a burst of messages doesn't starve the process.
 */
export function inTurn<Result>(evaluate: () => Promise<Result>): Promise<Result> {
  return new Promise((resolve, reject) => {
    waiting.push(() => evaluate().then(resolve, reject))
    if (!running) void run()
  })
}

async function run(): Promise<void> {
  running = true
  let since = performance.now()
  for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
    await next()
    if (performance.now() - since < slice) continue
    await setImmediate()
    since = performance.now()
  }
  running = false
}
