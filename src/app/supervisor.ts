import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Log } from '../core/log.ts'

/** One process of a Sluice on Redis: ingest, or one worker. */
export interface Role {
  readonly name: string
  /** What follows `sluice`. */
  readonly parameters: readonly string[]
  /** Names of the environment variables that its files refer to. */
  readonly variables: readonly string[]
}

/** What any process needs of the environment; none of it is a secret. */
const ordinary = [
  'PATH',
  'HOME',
  'LANG',
  'LC_ALL',
  'TZ',
  'TMPDIR',
  'NODE_ENV',
  'NODE_EXTRA_CA_CERTS',
  'NO_COLOR',
  'FORCE_COLOR',
  'SystemRoot',
]

const main = fileURLToPath(new URL('../main.ts', import.meta.url))
const firstWaitMs = 500
const maxWaitMs = 30_000
/** A process that has lived this long starts its waits anew. */
const steadyMs = 60_000

/**
 * Keeps one process for each role: each gets the variables that its own files refer to and no others. One that ends is
 * started again after a growing wait; the others go on. (Processes of one user can still read each other in /proc; who wants
 * more than care between them runs them as compose does, in containers.)
 */
export class Supervisor {
  readonly #configFile: string
  readonly #environment: NodeJS.ProcessEnv
  readonly #log: Log
  readonly #children = new Map<string, { child?: ChildProcess; timer?: NodeJS.Timeout; role: Role }>()
  #stopping = false

  constructor(configFile: string, environment: NodeJS.ProcessEnv, log: Log) {
    this.#configFile = configFile
    this.#environment = environment
    this.#log = log
  }

  /** Makes the processes those of `roles`: starts new ones and stops those that are gone. The others see to their own files. */
  apply(roles: readonly Role[], deadlineMs: number): void {
    const wanted = new Set(roles.map(({ name }) => name))
    for (const [name, { child, timer }] of this.#children) {
      if (wanted.has(name)) continue
      clearTimeout(timer)
      this.#children.delete(name)
      if (child !== undefined) void endOf(child, deadlineMs)
    }
    for (const role of roles) if (!this.#children.has(role.name)) this.#start(role, 0)
  }

  signal(signal: NodeJS.Signals): void {
    for (const { child } of this.#children.values()) child?.kill(signal)
  }

  async close(deadlineMs: number): Promise<void> {
    this.#stopping = true
    const children = [...this.#children.values()]
    for (const { timer } of children) clearTimeout(timer)
    await Promise.all(children.map(({ child }) => (child === undefined ? undefined : endOf(child, deadlineMs))))
  }

  #start(role: Role, failures: number): void {
    const names = new Set([...ordinary, ...role.variables])
    const env = Object.fromEntries(Object.entries(this.#environment).filter(([name]) => names.has(name)))
    const child = spawn(process.execPath, [main, '--config', this.#configFile, ...role.parameters], {
      env,
      stdio: ['ignore', 'inherit', 'inherit'],
    })
    const began = performance.now()
    this.#children.set(role.name, { child, role })
    child.once('error', (error) =>
      this.#log.error({ process: role.name, error: error.message }, 'could not be started'),
    )
    child.once('close', (code, signal) => {
      if (this.#stopping || this.#children.get(role.name)?.child !== child) return
      const again = performance.now() - began > steadyMs ? 0 : failures
      const waitMs = Math.min(firstWaitMs * 2 ** again, maxWaitMs)
      this.#log.error({ process: role.name, code, signal, waitMs }, 'a process ended; it is started again')
      this.#children.set(role.name, { role, timer: setTimeout(() => this.#start(role, again + 1), waitMs) })
    })
  }
}

/** Asks a process to stop, and after the deadline makes it: what it held is taken up by the next, as after a crash. */
async function endOf(child: ChildProcess, deadlineMs: number): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const { promise, resolve } = Promise.withResolvers<void>()
  child.once('close', () => resolve())
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), deadlineMs + 1_000)
  await promise
  clearTimeout(timer)
}
