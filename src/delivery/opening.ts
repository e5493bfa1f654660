import type { Credential } from '../core/credential.ts'
import type { AnyForwarderDefinition, Forwarder } from '../core/forwarder.ts'
import type { Log } from '../core/log.ts'
import type { WorkerDefinition } from '../core/worker.ts'

/** A forwarder that is opened when it is first wanted, once; a failed opening is tried again by the next who wants it. */
export interface Opening {
  /** Throws what the credential or the forwarder threw. */
  opened(): Promise<Forwarder>
  isOpen(): boolean
  close(): Promise<void>
}

export interface OpeningContext {
  readonly worker: WorkerDefinition
  readonly definition: AnyForwarderDefinition
  readonly openCredential: () => Promise<Credential | undefined>
  readonly signal: AbortSignal
  readonly log: Log
}

export function createOpening({ worker, definition, openCredential, signal, log }: OpeningContext): Opening {
  let pending: Promise<Forwarder> | undefined
  let forwarder: Forwarder | undefined

  return {
    isOpen: () => forwarder !== undefined,
    opened() {
      if (forwarder !== undefined) return Promise.resolve(forwarder)
      pending ??= open().finally(() => (pending = undefined))
      return pending
    },
    async close() {
      await pending?.catch(() => {})
      await forwarder?.close()
    },
  }

  async function open(): Promise<Forwarder> {
    const credential = await openCredential()
    const context = { worker: worker.name, signal, log, ...(credential !== undefined && { credential }) }
    forwarder = await definition.open(worker.settings, context)
    return forwarder
  }
}
