import type { Config, Loaded } from '../config/load.ts'
import { watchFolders } from '../config/watch.ts'
import { messageOf } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import { formatProblem, type Problem } from '../core/problem.ts'

type Listener = (config: Config) => void | Promise<void>

/**
 * The configuration in force, replaced whole or not at all: when a folder changes, on SIGHUP, and on `sluice reload`. What
 * has problems is said and leaves the running one running. sluice.yaml itself is read at start only.
 */
export class RunningConfig {
  #current: Config
  readonly #read: () => Promise<Loaded>
  readonly #log: Log
  readonly #listeners: Listener[] = []
  readonly #stop = new AbortController()
  #turn: Promise<unknown> = Promise.resolve()

  constructor(config: Config, read: () => Promise<Loaded>, log: Log) {
    this.#current = config
    this.#read = read
    this.#log = log
  }

  get current(): Config {
    return this.#current
  }

  /** Called with each new configuration, in the order of registration, one at a time. */
  onChange(listener: Listener): void {
    this.#listeners.push(listener)
  }

  /** Reads everything again; the problems, if any, or none and it is in force. Calls wait for each other. */
  reload(): Promise<readonly Problem[]> {
    const next = this.#turn.then(() => this.#reload())
    this.#turn = next.catch(() => undefined)
    return next
  }

  /** Watches the folders and SIGHUP until `close`. */
  watch(): void {
    const { rules, workers, identity } = this.#current.settings
    const again = () =>
      this.reload().then(
        () => undefined,
        (error: unknown) => this.#log.error({ error: messageOf(error) }, 'reload failed'),
      )
    void watchFolders([rules, workers, identity], again, this.#stop.signal, {
      onError: (error) => this.#log.warn({ error }, 'folders are no longer watched'),
    })
    const onHangup = () => void again()
    process.on('SIGHUP', onHangup)
    this.#stop.signal.addEventListener('abort', () => process.off('SIGHUP', onHangup))
  }

  close(): void {
    this.#stop.abort()
  }

  async #reload(): Promise<readonly Problem[]> {
    const { problems, config } = await this.#read()
    if (config === undefined) {
      this.#log.error(
        { problems: problems.map(formatProblem) },
        'the changed configuration has problems; the running one goes on',
      )
      return problems
    }
    const restart = JSON.stringify(config.settings) !== JSON.stringify(this.#current.settings)
    // What is running was built from the old settings; the folders may change under them, the settings may not.
    this.#current = { ...config, settings: this.#current.settings }
    for (const listener of this.#listeners) await listener(this.#current)
    if (restart) this.#log.warn({}, 'sluice.yaml has changed: restart to apply it')
    return []
  }
}
