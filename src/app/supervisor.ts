import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Log } from '../core/log.ts'
import type { Problem } from '../core/problem.ts'
import { heapFlags } from './heap.ts'
import { Link } from './link.ts'
import { supervisedEnvironment } from './supervised.ts'

/** One process of a Sluice on Redis: ingest, or one worker. */
export interface Role {
  readonly name: string
  /** Where this one can't start at all, nothing else is worth starting. */
  readonly essential: boolean
  /** What follows `sluice`. */
  readonly parameters: readonly string[]
  /** Names of the environment variables that it resolves. */
  readonly variables: readonly string[]
}

export interface SupervisorOptions {
  readonly configFile: string
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly log: Log
  /** How long a process has for its stop, in milliseconds; a second later it is killed. */
  readonly shutdownMs: number
  /** A child asks for a reload of everything. */
  readonly reload: () => Promise<readonly Problem[]>
  /** A part that the others need can't start, or one can't go on and must not be started again. */
  readonly giveUp: (reason: string) => void
  /** The first wait before a process that ended is started again; doubles up to `maxWaitMs`. */
  readonly firstWaitMs?: number
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
const maxWaitMs = 30_000
/** A process that has lived this long starts its waits anew. */
const steadyMs = 60_000

/** One role's process, or the wait for its next one. */
interface Kept {
  role: Role
  child?: ChildProcess
  link?: Link
  timer?: NodeJS.Timeout
  /** How often it ended soon after its start. */
  failures: number
  readonly ready: PromiseWithResolvers<void>
  wasReady: boolean
}

/**
 * Keeps one process for each role: each gets the variables that it resolves and no others. One that ends is started again
 * after a growing wait; the others go on. When this process dies, however, they notice by the channel that closes, and stop.
 * (Processes of one user can still read each other in /proc; who wants more than care between them runs them as compose does,
 * in containers.)
 */
export class Supervisor {
  readonly #options: SupervisorOptions
  readonly #kept = new Map<string, Kept>()
  /** Processes on their way out, by role: the next of that role waits for it, and so does `close`. */
  readonly #leaving = new Map<string, Promise<void>>()
  #stopping = false

  constructor(options: SupervisorOptions) {
    this.#options = options
  }

  /**
   * Makes the processes those of `roles`: starts new ones, stops those that are gone, and replaces those that need another
   * environment. The others go on.
   */
  apply(roles: readonly Role[]): void {
    if (this.#stopping) return
    const wanted = new Map(roles.map((role) => [role.name, role]))
    for (const [name, kept] of this.#kept) {
      const role = wanted.get(name)
      if (role !== undefined && sameVariables(role, kept.role)) kept.role = role
      else this.#leave(name, kept)
    }
    for (const role of roles) if (!this.#kept.has(role.name)) this.#keep(role)
  }

  /** Has every process read its files again; what they say of them. */
  async reload(): Promise<readonly Problem[]> {
    const { log } = this.#options
    const asked = [...this.#kept.values()].map(async ({ link, role }) => {
      try {
        return (await link?.askReload()) ?? []
      } catch (error) {
        log.error({ process: role.name, error: String(error) }, 'a process could not reload')
        return []
      }
    })
    return (await Promise.all(asked)).flat()
  }

  /** Resolves when every process that is wanted now has been ready once. */
  async ready(): Promise<void> {
    await Promise.all([...this.#kept.values()].map(({ ready }) => ready.promise))
  }

  /** Process ids by role, for those that run. */
  processes(): ReadonlyMap<string, number> {
    return new Map(
      [...this.#kept].flatMap(([name, { child }]) => (child?.pid === undefined ? [] : [[name, child.pid]])),
    )
  }

  /** Ends all processes at once, as a crash would. */
  kill(): void {
    this.#stopping = true
    for (const { child } of this.#kept.values()) child?.kill('SIGKILL')
  }

  async close(): Promise<void> {
    this.#stopping = true
    for (const [name, kept] of this.#kept) this.#leave(name, kept)
    await Promise.all(this.#leaving.values())
  }

  #keep(role: Role): void {
    const kept: Kept = { role, failures: 0, ready: Promise.withResolvers<void>(), wasReady: false }
    this.#kept.set(role.name, kept)
    const before = this.#leaving.get(role.name)
    if (before === undefined) this.#start(kept)
    else void before.then(() => this.#start(kept))
  }

  #leave(name: string, { child, timer }: Kept): void {
    clearTimeout(timer)
    this.#kept.delete(name)
    if (child === undefined) return
    const left = endOf(child, this.#options.shutdownMs).finally(() => {
      if (this.#leaving.get(name) === left) this.#leaving.delete(name)
    })
    this.#leaving.set(name, left)
  }

  #start(kept: Kept): void {
    const { configFile, log, reload, giveUp } = this.#options
    const { name, parameters } = kept.role
    if (this.#stopping || this.#kept.get(name) !== kept) return
    const child = spawn(process.execPath, [...heapFlags, main, '--config', configFile, ...parameters], {
      env: { ...this.#environmentOf(kept.role), ...supervisedEnvironment },
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    })
    const began = performance.now()
    let cannotGoOn: string | undefined
    kept.child = child
    kept.link = new Link(child, {
      reload,
      ready() {
        kept.wasReady = true
        kept.ready.resolve()
      },
      cannotGoOn: (reason) => void (cannotGoOn = reason),
    })
    child.once('error', (error) => log.error({ process: name, error: error.message }, 'could not be started'))
    child.once('close', (code, signal) => {
      if (this.#stopping || this.#kept.get(name) !== kept) return
      delete kept.child
      delete kept.link
      if (cannotGoOn !== undefined) return giveUp(`${name}: ${cannotGoOn}`)
      if (kept.role.essential && !kept.wasReady && code !== null) return giveUp(`${name} could not start`)
      kept.failures = performance.now() - began > steadyMs ? 0 : kept.failures
      const waitMs = Math.min((this.#options.firstWaitMs ?? 500) * 2 ** kept.failures, maxWaitMs)
      kept.failures += 1
      log.error({ process: name, code, signal, waitMs }, 'a process ended; it is started again')
      kept.timer = setTimeout(() => this.#start(kept), waitMs)
    })
  }

  #environmentOf({ variables }: Role): Record<string, string | undefined> {
    const names = new Set([...ordinary, ...variables])
    return Object.fromEntries(Object.entries(this.#options.environment).filter(([name]) => names.has(name)))
  }
}

function sameVariables(a: Role, b: Role): boolean {
  return a.variables.length === b.variables.length && a.variables.every((name, index) => name === b.variables[index])
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
