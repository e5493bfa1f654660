import type { Config, Loaded } from '../config/load.ts'
import { watchFolders } from '../config/watch.ts'
import { messageOf } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import { formatProblem, type Problem, ProblemsError } from '../core/problem.ts'
import { accidents } from './accidents.ts'
import { movedQueues, withOpened } from './own-places.ts'

/** Puts a new configuration in force. It may say what went wrong elsewhere; it does not throw for what `prepare` could see. */
export type Commit = () => void | readonly Problem[] | Promise<void | readonly Problem[]>

/** Gets ready for a new configuration without changing anything; throws where it can't be had. */
export type Prepare = (config: Config) => Commit | Promise<Commit>

export interface RunningConfigOptions {
  /** As read a moment ago: names the folders. */
  readonly settings: Config['settings']
  /** Files elsewhere that the configuration named then; none by default. */
  readonly files?: readonly string[]
  readonly read: () => Promise<Loaded>
  readonly log: Log
  /** False: somebody else (the supervisor) says when to reload. */
  readonly watch: boolean
}

/**
 * The configuration in force, replaced whole or not at all: when a folder changes, on SIGHUP, and on `sluice reload`. What
 * has problems is said and leaves the running one running. sluice.yaml itself is read at start only, and so is `queue` of a worker.
 */
export class RunningConfig {
  #current: Config
  /** Their queues are those that were opened. */
  readonly #atStart: Config['workers']
  readonly #read: () => Promise<Loaded>
  readonly #log: Log
  readonly #parts: Prepare[] = []
  readonly #stop = new AbortController()
  readonly #begun = Promise.withResolvers<void>()
  #turn: Promise<unknown> = this.#begun.promise

  private constructor(config: Config, { read, log }: RunningConfigOptions) {
    this.#current = config
    this.#atStart = config.workers
    this.#read = read
    this.#log = log
  }

  /**
   * Reads the configuration, and notices every change from then on: it looks at the folders before it reads them. Reloads wait
   * for `begin`. Throws ProblemsError.
   */
  static async open(options: RunningConfigOptions): Promise<RunningConfig> {
    const { settings, files = [], read, log, watch } = options
    let again = () => Promise.resolve()
    let named = (): readonly string[] => files
    const stop = new AbortController()
    if (watch) {
      const folders = [settings.rules, settings.workers, settings.identity]
      await watchFolders(
        () => [...folders, ...named()],
        () => again(),
        stop.signal,
        {
          onError: (error) => log.warn({ error }, 'folders are no longer watched'),
        },
      )
    }
    const { problems, config } = await read()
    if (config === undefined) {
      stop.abort()
      throw new ProblemsError(problems)
    }
    if (config.isEmpty) log.warn({ file: config.file }, 'the file is empty: everything has its default')
    const running = new RunningConfig({ ...config, settings }, options)
    again = () => running.#again()
    // Certificates and CRLs that identity/ names may lie elsewhere.
    named = () => running.#current.directory.files
    // Under a supervisor the signal means nothing: it comes to the whole group from a terminal, and the supervisor acts on it.
    const onHangup = watch ? () => void again() : () => {}
    process.on('SIGHUP', onHangup)
    running.#stop.signal.addEventListener('abort', () => {
      stop.abort()
      process.off('SIGHUP', onHangup)
    })
    return running
  }

  get current(): Config {
    return this.#current
  }

  /** Every part prepares for a new configuration before any commits to it, in the order of registration. */
  onChange(prepare: Prepare): void {
    this.#parts.push(prepare)
  }

  /** All parts are registered: reloads may come. */
  begin(): void {
    this.#begun.resolve()
  }

  /** Reads everything again; the problems, if any, or none and it is in force. Calls wait for each other. */
  reload(): Promise<readonly Problem[]> {
    const next = this.#turn.then(() => (this.#stop.signal.aborted ? [] : this.#reload()))
    this.#turn = next.catch(() => undefined)
    return next
  }

  /** No more reloads; resolves when one that is under way has ended. */
  async close(): Promise<void> {
    this.#stop.abort()
    this.#begun.resolve()
    await this.#turn
  }

  async #again(): Promise<void> {
    try {
      await this.reload()
    } catch (error) {
      this.#log.error({ error: messageOf(error) }, 'reload failed; the running configuration goes on')
    }
  }

  async #reload(): Promise<readonly Problem[]> {
    const { problems, config } = await this.#read()
    if (config === undefined) return this.#refuse(problems)
    const lost = [...accidents(this.#current, config), ...movedQueues(this.#atStart, config.workers)]
    if (lost.length > 0) return this.#refuse(lost)
    const { settings } = this.#current
    const moved = (['rules', 'workers', 'identity'] as const).filter((key) => config.settings[key] !== settings[key])
    if (moved.length > 0) {
      const message = `names another folder for ${moved.join(' and ')} than the running Sluice has: restart to apply it`
      return this.#refuse([{ file: config.file, line: 1, column: 1, path: '', message }])
    }
    // What is running was built from the old settings; the folders may change under them, the settings may not.
    const { workers, differ } = withOpened(this.#atStart, config.workers)
    const next = { ...config, settings, workers }
    const commits: Commit[] = []
    for (const prepare of this.#parts) commits.push(await prepare(next))
    this.#current = next
    const said: Problem[] = []
    for (const commit of commits) said.push(...((await this.#commit(commit)) ?? []))
    if (JSON.stringify(config.settings) !== JSON.stringify(settings))
      this.#log.warn({}, 'sluice.yaml has changed: restart to apply it')
    if (differ) this.#log.warn({}, '"queue" in workers/ has changed: restart to apply it')
    return said
  }

  /** From here on there is no way back, so one that fails does not keep the others on the old configuration. */
  async #commit(commit: Commit): Promise<void | readonly Problem[]> {
    try {
      return await commit()
    } catch (error) {
      this.#log.error({ error: messageOf(error) }, 'a part could not take the new configuration')
      return undefined
    }
  }

  #refuse(problems: readonly Problem[]): readonly Problem[] {
    this.#log.error(
      { problems: problems.map(formatProblem) },
      'the changed configuration has problems; the running one goes on',
    )
    return problems
  }
}
