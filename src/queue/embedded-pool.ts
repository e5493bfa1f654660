import { EventEmitter } from 'node:events'
import type { EmbeddedDatabase, Result } from './embedded-database.ts'

/**
 * The embedded database in the shape of a `pg.Pool`, which is what BullMQ's Postgres backend takes. One session stands
 * behind it, and every statement is whole in itself: a transaction over several would take in those of others, so it is
 * refused (only BullMQ's migrations have one, and they run before).
 */
export class EmbeddedPool extends EventEmitter {
  /** BullMQ reads it: our "connection" can't be cut silently, so a worker may sleep until it is called. */
  readonly options = { keepAlive: true }
  readonly #database: EmbeddedDatabase
  readonly #clients = new Set<Client>()

  constructor(database: EmbeddedDatabase) {
    super()
    this.setMaxListeners(0)
    this.#database = database
    database.on('notification', (channel, payload) => {
      for (const client of this.#clients) client.emit('notification', { channel, payload })
    })
    // The new session listens to nothing: this makes BullMQ take a new client and LISTEN on it.
    database.on('reopened', () => {
      for (const client of this.#clients)
        if (client.listenerCount('error') > 0) client.emit('error', new Error('the embedded queue was opened again'))
    })
  }

  query(text: string, params?: readonly unknown[]): Promise<Result> {
    if (/^\s*(?:BEGIN|START)\b/i.test(text))
      return Promise.reject(new Error('the embedded queue has one session: no transactions'))
    return this.#database.query(text, params)
  }

  async connect(): Promise<Client> {
    const client: Client = new Client(
      (text, params) => this.query(text, params),
      () => this.#clients.delete(client),
    )
    this.#clients.add(client)
    return client
  }

  /** Nothing: the database ends with the queue. */
  async end(): Promise<void> {}
}

class Client extends EventEmitter {
  readonly query: EmbeddedPool['query']
  readonly release: () => void

  constructor(query: EmbeddedPool['query'], release: () => void) {
    super()
    this.setMaxListeners(0)
    this.query = query
    this.release = release
  }

  async end(): Promise<void> {
    this.release()
  }
}
