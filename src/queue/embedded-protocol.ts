/** What the thread of the embedded queue is started with. `create`: makes a new database and ends. `serve`: opens one and answers. */
export interface ThreadOrder {
  readonly task: 'create' | 'serve'
  readonly folder: string
}

export type ToThread =
  | {
      readonly kind: 'query'
      readonly id: number
      readonly text: string
      readonly params: readonly unknown[] | undefined
    }
  | { readonly kind: 'syncs'; readonly id: number }
  | { readonly kind: 'close' }

export type FromThread =
  | { readonly kind: 'ready' }
  | { readonly kind: 'closed' }
  | { readonly kind: 'result'; readonly id: number; readonly rows: readonly unknown[]; readonly rowCount: number }
  | { readonly kind: 'failed'; readonly id: number; readonly error: ThreadError }
  | { readonly kind: 'notification'; readonly channel: string; readonly payload: string }

/** An error of Postgres, or of the thread itself (`fatal`: it is of no use any more). */
export interface ThreadError {
  readonly message: string
  /** SQLSTATE; BullMQ's functions put a code of their own in `detail`. */
  readonly code?: string
  readonly detail?: string
  readonly fatal: boolean
}
