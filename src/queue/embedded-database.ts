import { EventEmitter } from 'node:events'
import { Worker } from 'node:worker_threads'
import { messageOf } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import { within } from './backend.ts'
import type { FromThread, ThreadOrder, ToThread } from './embedded-protocol.ts'
import { Outage } from './outage.ts'

/** Postgres' recovery after a crash takes seconds; a damaged folder can make it spin for ever. */
const openMs = 60_000
const closeMs = 10_000
const reopenMs = { first: 500, max: 30_000 }

/** The database is not open. Its code is what BullMQ takes for "the connection is down": it waits and tries again. */
export class DatabaseAway extends Error {
  readonly code = 'ECONNREFUSED'
  /** The statement had been handed over; it may have been committed. */
  readonly sent: boolean
  constructor(message: string, sent: boolean) {
    super(message)
    this.sent = sent
  }
}

export interface Result {
  readonly rows: readonly unknown[]
  readonly rowCount: number
}

export type Query = (text: string, params?: readonly unknown[]) => Promise<Result>

interface Pending {
  resolve(result: Result): void
  reject(error: Error): void
}

/**
 * A Postgres in a thread of its own, on a folder. Should its program break off (a full disk, a bug), everything under way
 * fails, and it is opened again until it stays open. Emits `notification` (channel, payload) and `reopened`.
 */
export class EmbeddedDatabase extends EventEmitter<{ notification: [string, string]; reopened: [] }> {
  /** Statements so far; housekeeping looks at it. */
  statements = 0
  readonly #folder: string
  readonly #prepare: (query: Query) => Promise<void>
  readonly #outage: Outage
  readonly #pending = new Map<number, Pending>()
  #thread: Worker | undefined
  /** Whether others than `prepare` may ask. */
  #ready = false
  #nextId = 1
  #closing = false
  #reopening: NodeJS.Timeout | undefined

  /** `prepare` runs after every opening, before anybody else may ask. */
  constructor(folder: string, log: Log, prepare: (query: Query) => Promise<void>) {
    super()
    this.setMaxListeners(0)
    this.#folder = folder
    this.#prepare = prepare
    this.#outage = new Outage(log, 'the embedded queue')
  }

  get busy(): boolean {
    return this.#pending.size > 0
  }

  /** Opens the folder; throws what Postgres said when it can't be opened. */
  async open(): Promise<void> {
    const thread = startThread({ task: 'serve', folder: this.#folder })
    this.#thread = thread
    try {
      await within(openMs, firstWord(thread), () => new Error(`it did not open within ${openMs / 1000} s`))
      thread.on('message', (message: FromThread) => this.#hear(message))
      thread.on('error', (error) => this.#lose(thread, messageOf(error)))
      thread.on('exit', () => this.#lose(thread, 'its thread ended'))
      await this.#prepare((text, params) => this.#ask((id) => ({ kind: 'query', id, text, params })))
      this.#ready = true
    } catch (error) {
      this.#thread = undefined
      this.#fail('it could not be opened')
      await thread.terminate()
      throw error
    }
  }

  /** One statement; throws DatabaseAway, or Postgres' error with `code` and `detail`. */
  query(text: string, params?: readonly unknown[]): Promise<Result> {
    if (!this.#ready) return Promise.reject(new DatabaseAway('the embedded queue is not open', false))
    this.statements += 1
    return this.#ask((id) => ({ kind: 'query', id, text, params }))
  }

  /** How often data was forced to the disk since the last opening. */
  async syncs(): Promise<number> {
    return Number((await this.#ask((id) => ({ kind: 'syncs', id }))).rows[0])
  }

  async close(): Promise<void> {
    this.#closing = true
    this.#ready = false
    clearTimeout(this.#reopening)
    const thread = this.#thread
    if (thread === undefined) return
    const closed = new Promise<void>((resolve) => {
      thread.on('message', (message: FromThread) => message.kind === 'closed' && resolve())
      thread.once('exit', () => resolve())
    })
    post(thread, { kind: 'close' })
    // Cut off in the middle it recovers on the next opening, as after a crash.
    await within(closeMs, closed, () => new Error('late')).catch(() => {})
    this.#thread = undefined
    this.#fail('the queue was closed')
    await thread.terminate()
  }

  #ask(order: (id: number) => ToThread): Promise<Result> {
    const thread = this.#thread
    if (thread === undefined) return Promise.reject(new DatabaseAway('the embedded queue is not open', false))
    const id = this.#nextId++
    const { promise, resolve, reject } = Promise.withResolvers<Result>()
    this.#pending.set(id, { resolve, reject })
    post(thread, order(id))
    return promise
  }

  #hear(message: FromThread): void {
    if (message.kind === 'notification') return void this.emit('notification', message.channel, message.payload)
    if (message.kind !== 'result' && message.kind !== 'failed') return
    const pending = this.#pending.get(message.id)
    this.#pending.delete(message.id)
    if (message.kind === 'result') return pending?.resolve({ rows: message.rows, rowCount: message.rowCount })
    const { fatal, ...error } = message.error
    if (!fatal) return pending?.reject(Object.assign(new Error(error.message), error))
    pending?.reject(new DatabaseAway(error.message, true))
    if (this.#thread !== undefined) this.#lose(this.#thread, error.message)
  }

  #lose(thread: Worker, reason: string): void {
    if (this.#thread !== thread) return
    const opened = this.#ready
    this.#thread = undefined
    this.#ready = false
    this.#fail(reason)
    void thread.terminate()
    // While it is being opened, whoever opens it hears of it.
    if (opened && !this.#closing) this.#reopen(reason, reopenMs.first)
  }

  #reopen(reason: string, afterMs: number): void {
    this.#outage.down(new Error(reason))
    this.#reopening = setTimeout(() => {
      this.open().then(
        () => {
          this.#outage.up()
          this.emit('reopened')
        },
        (error: unknown) => this.#closing || this.#reopen(messageOf(error), Math.min(afterMs * 2, reopenMs.max)),
      )
    }, afterMs)
  }

  #fail(reason: string): void {
    const pending = [...this.#pending.values()]
    this.#pending.clear()
    for (const each of pending) each.reject(new DatabaseAway(reason, true))
  }
}

/** Makes a new database in an empty folder, in a thread that ends with it: it takes 500 MB that serving doesn't. */
export async function createDatabase(folder: string): Promise<void> {
  const thread = startThread({ task: 'create', folder })
  try {
    await within(openMs, firstWord(thread), () => new Error(`it was not made within ${openMs / 1000} s`))
  } finally {
    await thread.terminate()
  }
}

function startThread(order: ThreadOrder): Worker {
  // Installed from npm these files are JavaScript.
  const file = import.meta.url.endsWith('.ts') ? './embedded-thread.ts' : './embedded-thread.js'
  const thread = new Worker(new URL(file, import.meta.url), {
    name: 'sluice-queue',
    workerData: order,
    // Postgres in there needs no secrets of ours.
    env: {},
    stdout: true,
    stderr: true,
  })
  // Without a listener an error of the thread would end the process.
  thread.on('error', () => {})
  thread.stdout.resume()
  thread.stderr.resume()
  return thread
}

/** Resolves when the thread is ready; rejects with the reason why it never will be. */
function firstWord(thread: Worker): Promise<void> {
  let said = ''
  thread.stderr.on('data', (chunk: Buffer) => (said = (said + chunk.toString()).slice(-4096)))
  return new Promise((resolve, reject) => {
    thread.once('message', () => resolve())
    thread.once('error', (error) => reject(new Error([messageOf(error), lastLineOf(said)].filter(Boolean).join('; '))))
    thread.once('exit', (code) => reject(new Error(`its thread ended with code ${code} ${lastLineOf(said)}`.trim())))
  })
}

function lastLineOf(text: string): string {
  return text.trim().split('\n').at(-1) ?? ''
}

function post(thread: Worker, message: ToThread): void {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
  thread.postMessage(message)
}
