import { messageOf } from '../core/errors.ts'
import type { Problem } from '../core/problem.ts'

/** The two ends that Node puts between a process and its child: a ChildProcess, or `process` itself. */
export interface Channel {
  readonly connected: boolean
  send?(message: object, sent: (error: Error | null) => void): unknown
  on(event: 'message', listener: (message: unknown) => void): unknown
  on(event: 'disconnect', listener: () => void): unknown
}

/** What the two say to each other. `reload` is a question, `reloaded` its answer. */
type Said =
  | { readonly kind: 'ready' }
  | { readonly kind: 'cannot-go-on'; readonly reason: string }
  | { readonly kind: 'reload'; readonly id: number }
  | { readonly kind: 'reloaded'; readonly id: number; readonly problems: readonly Problem[]; readonly error?: string }

export interface LinkHandlers {
  /** The other side asks for a reload. */
  reload(): Promise<readonly Problem[]>
  ready?(): void
  cannotGoOn?(reason: string): void
  /** The other side is gone. */
  gone?(): void
}

/** Speaks to the process on the other side: the supervisor to its children, and they to it. Both are our own code. */
export class Link {
  readonly #channel: Channel
  readonly #asked = new Map<
    number,
    { resolve: (problems: readonly Problem[]) => void; reject: (error: Error) => void }
  >()
  #next = 0

  constructor(channel: Channel, handlers: LinkHandlers) {
    this.#channel = channel
    channel.on('message', (message) => this.#hear(message as Said, handlers))
    channel.on('disconnect', () => {
      for (const { resolve } of this.#asked.values()) resolve([])
      this.#asked.clear()
      handlers.gone?.()
    })
    // It may have gone before anybody listened.
    if (!channel.connected) handlers.gone?.()
  }

  /** Asks the other side to reload; its problems. Nothing where it is gone or goes meanwhile: it reads the files when it starts. */
  askReload(): Promise<readonly Problem[]> {
    if (!this.#channel.connected) return Promise.resolve([])
    const id = (this.#next += 1)
    const { promise, resolve, reject } = Promise.withResolvers<readonly Problem[]>()
    this.#asked.set(id, { resolve, reject })
    this.#say({ kind: 'reload', id })
    return promise
  }

  sayReady(): void {
    this.#say({ kind: 'ready' })
  }

  sayCannotGoOn(reason: string): void {
    this.#say({ kind: 'cannot-go-on', reason })
  }

  #hear(said: Said, handlers: LinkHandlers): void {
    switch (said.kind) {
      case 'ready':
        return handlers.ready?.()
      case 'cannot-go-on':
        return handlers.cannotGoOn?.(said.reason)
      case 'reload':
        return void handlers.reload().then(
          (problems) => this.#say({ kind: 'reloaded', id: said.id, problems }),
          (error: unknown) => this.#say({ kind: 'reloaded', id: said.id, problems: [], error: messageOf(error) }),
        )
      case 'reloaded': {
        const asked = this.#asked.get(said.id)
        this.#asked.delete(said.id)
        if (said.error === undefined) asked?.resolve(said.problems)
        else asked?.reject(new Error(said.error))
      }
    }
  }

  /** What can't be said is not said: the other side is gone then, and `gone` tells. */
  #say(said: Said): void {
    if (this.#channel.connected) this.#channel.send?.(said, () => {})
  }
}
