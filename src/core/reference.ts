/** `${env:NAME}`, `${env:NAME:-default}` or `${file:path}`, taken apart. */
export type Reference =
  | { readonly kind: 'env'; readonly name: string; readonly fallback?: string }
  | { readonly kind: 'file'; readonly path: string }

/** Whose process this is: what may be resolved in it. */
export type Owner = { readonly kind: 'ingest' } | { readonly kind: 'worker'; readonly name: string }

/** Where a reference stands: the file (absolute; relative paths start from its folder) and to whom that part of it belongs. */
export interface Place {
  readonly file: string
  /**
   * `shared`: parts of sluice.yaml that every process needs, such as the queue's address. `queue`: the address of the queue that a worker
   * has for itself, which that worker and ingest need, and no other worker.
   */
  readonly owner: Owner | { readonly kind: 'shared' } | { readonly kind: 'queue'; readonly name: string }
  /** Whether a value is no secret here: a host, a user's name, a folder. Left out, every value is one, and shows nowhere. */
  readonly isOpen?: (value: string) => boolean
}

/**
 * A value, or why there is none and what to do about it; a problem never quotes a value. `open`: nobody asked for the value,
 * as in a command that only needs to know where the files are.
 */
export type Resolved = { readonly value: string } | { readonly problem: string } | { readonly open: true }

/** Resolves references for the one owner it was made for; secrets/ makes it, config/ calls it. */
export type Resolve = (reference: Reference, place: Place) => Resolved
