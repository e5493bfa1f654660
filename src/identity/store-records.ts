import { isDeepStrictEqual } from 'node:util'
import { z } from 'zod'
import type { NamedPolicy, Thing } from '../core/directory.ts'
import { messageOf, SluiceError } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import type { Change, Store, Table } from '../core/queue.ts'
import type { CertificateRecord, Records } from './records.ts'

export interface StoreRecordsOptions {
  /** The queue's store. */
  readonly store: Pick<Store, 'table' | 'onReturn'>
  readonly log: Log
  /** How often it looks for what other ingests have changed, in milliseconds. 250: a revoked device is off within a second. */
  readonly pollMs?: number
}

const kinds = ['certificate', 'thing', 'policy'] as const
type Kind = (typeof kinds)[number]
type Value = CertificateRecord | Thing | NamedPolicy
type Listener = Parameters<Records['onChange']>[0]
/** By kind, then by name. */
type View = Readonly<Record<Kind, Map<string, Seen>>>

/** A record of the view; without a value it was taken away. */
interface Seen {
  readonly version: number
  readonly value: Value | undefined
}

/** The table's name in the store. One for all kinds: what a certificate names is seen no later than the certificate. */
const tableName = 'identity'
/** Records that are asked for at a time. */
const pageSize = 1_000

const fingerprint = /^[0-9a-f]{64}$/
const name = z.string().regex(/^[a-zA-Z0-9:_.-]{1,128}$/)
const names = z.array(z.string().max(128)).max(1_000)
const statuses = ['ACTIVE', 'INACTIVE', 'REVOKED', 'PENDING_ACTIVATION'] as const

const schemas = {
  certificate: z.strictObject({
    fingerprint: z.string().regex(fingerprint),
    status: z.enum(statuses),
    thing: name.exactOptional(),
    policies: names,
    authority: z.string().min(1).max(128).exactOptional(),
    registeredAt: z.number(),
  }),
  thing: z.strictObject({
    name,
    type: name.exactOptional(),
    attributes: z.record(z.string(), z.string()),
    groups: names,
    policies: names,
  }),
  policy: z.strictObject({ name: z.string().min(1).max(128), document: z.record(z.string(), z.unknown()) }),
}

/**
 * Opens the records in the store. Resolves when everything is loaded, or when the store turned out to be away: then there are no
 * records until it is back, which is said in the log, and nothing can be written. A record that can't be read denies whatever it is
 * about.
 */
export async function openStoreRecords(options: StoreRecordsOptions): Promise<Records> {
  const records = new StoreRecords(options)
  await records.open()
  return records
}

class StoreRecords implements Records {
  readonly #table: Table
  readonly #log: Log
  readonly #pollMs: number
  readonly #listeners = new Set<Listener>()
  #view = emptyView()
  /** Up to where the table's changes are in the view. */
  #version = 0
  #loaded = false
  /** The store has come back, perhaps with an older state, whose versions then count from there: nothing seen before counts. */
  #stale = false
  #away = false
  #timer: NodeJS.Timeout | undefined
  #polling: Promise<void> | undefined
  #closed = false

  constructor({ store, log, pollMs = 250 }: StoreRecordsOptions) {
    this.#table = store.table(tableName)
    store.onReturn(() => (this.#stale = true))
    this.#log = log
    this.#pollMs = pollMs
  }

  async open(): Promise<void> {
    await this.#poll()
    this.#schedule()
  }

  certificate(fingerprint: string): CertificateRecord | undefined {
    return this.#get('certificate', fingerprint) as CertificateRecord | undefined
  }

  certificates(): Iterable<CertificateRecord> {
    return this.#all('certificate') as readonly CertificateRecord[]
  }

  thing(name: string): Thing | undefined {
    return this.#get('thing', name) as Thing | undefined
  }

  things(): Iterable<Thing> {
    return this.#all('thing') as readonly Thing[]
  }

  policy(name: string): NamedPolicy | undefined {
    return this.#get('policy', name) as NamedPolicy | undefined
  }

  async putCertificate(record: CertificateRecord, before: CertificateRecord | undefined): Promise<boolean> {
    if (before?.status === 'REVOKED' && record.status !== 'REVOKED')
      throw new SluiceError('WRONG_USE', 'a certificate that was revoked stays revoked')
    return this.#put('certificate', record.fingerprint, record, before)
  }

  putThing(thing: Thing, before: Thing | undefined): Promise<boolean> {
    return this.#put('thing', thing.name, thing, before)
  }

  async putPolicy(policy: { readonly name: string; readonly document: unknown }): Promise<boolean> {
    const before = this.policy(policy.name)
    if (before !== undefined && isDeepStrictEqual(before.document, policy.document)) return true
    return this.#put('policy', policy.name, policy, before)
  }

  async deleteCertificate(fingerprint: string): Promise<void> {
    await this.#mustBeLoaded()
    const seen = this.#view.certificate.get(fingerprint)
    if (seen?.value === undefined) return
    const key = keyOf('certificate', fingerprint)
    const version = await this.#table.put(key, undefined, seen.version)
    if (version !== undefined) return this.#apply([{ key, version, value: undefined }])
    await this.#refresh()
    throw new SluiceError('WRONG_USE', 'somebody else has changed the certificate in the meantime; look at it again')
  }

  onChange(listener: Listener): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
    this.#listeners.clear()
  }

  #get(kind: Kind, name: string): Value | undefined {
    return this.#view[kind].get(name)?.value
  }

  #all(kind: Kind): readonly Value[] {
    return [...this.#view[kind].values()].flatMap(({ value }) => (value === undefined ? [] : [value]))
  }

  /** What isn't loaded yet looks as if it weren't there, and nothing may be built on that. */
  async #mustBeLoaded(): Promise<void> {
    if (!this.#loaded || this.#stale) await this.#refresh()
    if (!this.#loaded || this.#stale)
      throw new SluiceError('QUEUE_AWAY', 'the records of identities are not loaded yet')
  }

  /** Writes it if the view and the store both have what the caller has seen; refreshes the view where the store has another. */
  async #put(kind: Kind, name: string, value: object, before: Value | undefined): Promise<boolean> {
    await this.#mustBeLoaded()
    const checked = schemas[kind].safeParse(value)
    if (!checked.success) throw new SluiceError('WRONG_USE', `${kind} "${name}": ${describe(checked.error)}`)
    const seen = this.#view[kind].get(name)
    if (!isDeepStrictEqual(seen?.value, before)) return false
    const key = keyOf(kind, name)
    const version = await this.#table.put(key, checked.data, seen?.value === undefined ? 0 : seen.version)
    if (version !== undefined) this.#apply([{ key, version, value: checked.data }])
    else await this.#refresh()
    return version !== undefined
  }

  /** Sees everything that is in the store now: a round that is under way may have asked before. */
  async #refresh(): Promise<void> {
    await this.#polling
    await this.#poll()
  }

  #schedule(): void {
    if (this.#closed) return
    // Not an interval: a slow store is not asked again before it has answered.
    this.#timer = setTimeout(() => void this.#poll().finally(() => this.#schedule()), this.#pollMs)
    this.#timer.unref()
  }

  /** One round; never rejects. Several who ask at once share it. */
  #poll(): Promise<void> {
    this.#polling ??= this.#follow()
      .then(
        () => this.#back(),
        (error: unknown) => this.#gone(error),
      )
      .finally(() => (this.#polling = undefined))
    return this.#polling
  }

  async #follow(): Promise<void> {
    if (this.#stale || !this.#loaded) return this.#reload()
    // The last change is asked for again: where it is missing, the store has lost what it had.
    const from = Math.max(0, this.#version - 1)
    const changes = await this.#changes(from)
    if (this.#closed || this.#stale) return
    if (this.#version > 0 && changes.length === 0) return this.#reload()
    this.#apply(changes.filter(({ version }) => version > this.#version))
    this.#version = changes.at(-1)?.version ?? this.#version
  }

  async #reload(): Promise<void> {
    this.#stale = false
    try {
      const changes = await this.#changes(0)
      // It went away again and came back while it was read.
      if (!this.#closed && !this.#stale) this.#replace(changes)
    } catch (error) {
      this.#stale = true
      throw error
    }
  }

  async #changes(from: number): Promise<readonly Change<unknown>[]> {
    const changes: Change<unknown>[] = []
    for (;;) {
      const page = await this.#table.since<unknown>(changes.at(-1)?.version ?? from, pageSize)
      changes.push(...page)
      if (page.length < pageSize) return changes
    }
  }

  /** All of it anew: the first load, and a store that may have gone back in time. Says what is different. */
  #replace(changes: readonly Change<unknown>[]): void {
    const there = new Set(changes.map(({ key }) => key))
    const before = this.#view
    const lost = keysOf(before).filter((key) => !there.has(key))
    const version = changes.at(-1)?.version ?? 0
    const wentBack = this.#loaded && (lost.length > 0 || version < this.#version)
    if (wentBack)
      this.#log.error(
        { records: changes.length, lost: lost.length },
        'the store has lost records of identities; what is there now counts',
      )
    this.#view = emptyView()
    this.#version = version
    this.#loaded = true
    this.#apply(changes, { before, lost })
  }

  /** Takes over changes that are newer than what the view has, and says so; `before`: the view that it replaces. */
  #apply(
    changes: readonly Change<unknown>[],
    { before, lost }: { readonly before?: View; readonly lost: readonly string[] } = { lost: [] },
  ): void {
    const changed: Record<Kind, Set<string>> = { certificate: new Set(), thing: new Set(), policy: new Set() }
    for (const { key, version, value } of changes) {
      const { kind, name } = partsOf(key)
      if (kind === undefined)
        this.#log.warn({ record: key }, 'a record of identities is of a kind that is not known here')
      else if ((this.#view[kind].get(name)?.version ?? 0) < version) {
        const seen = { version, value: value === undefined ? undefined : this.#read(kind, name, value) }
        this.#view[kind].set(name, seen)
        const isSame = before !== undefined && isDeepStrictEqual(before[kind].get(name)?.value, seen.value)
        if (!isSame) changed[kind].add(name)
      }
    }
    for (const { kind, name } of lost.map(partsOf)) if (kind !== undefined) changed[kind].add(name)
    const said = { certificates: [...changed.certificate], things: [...changed.thing], policies: [...changed.policy] }
    if (Object.values(said).every((names) => names.length === 0)) return
    for (const listener of this.#listeners) {
      try {
        listener(said)
      } catch (error) {
        this.#log.error({ error: messageOf(error) }, 'a change of the records of identities could not be passed on')
      }
    }
  }

  /** The value of a record; where it can't be read, one that lets nobody do anything. */
  #read(kind: Kind, name: string, value: unknown): Value {
    const parsed = schemas[kind].safeParse(value)
    if (parsed.success && nameIn(parsed.data) === name) return entryOf(parsed.data)
    const problem = parsed.success ? 'it names another' : describe(parsed.error)
    this.#log.error(
      { record: keyOf(kind, name), problem },
      'a record of identities cannot be read; whatever it is about is denied until it is written anew',
    )
    return denying(kind, name)
  }

  #back(): void {
    if (this.#away)
      this.#log.info({ records: keysOf(this.#view).length }, 'the records of identities are followed again')
    this.#away = false
  }

  #gone(error: unknown): void {
    if (!this.#away && !this.#closed)
      this.#log.warn(
        { error: messageOf(error) },
        this.#loaded
          ? 'the records of identities cannot be followed; those that are known count until the store is back'
          : 'the records of identities cannot be loaded; certificates that stand in no file are refused until the store is back',
      )
    this.#away = true
  }
}

function emptyView(): View {
  return { certificate: new Map(), thing: new Map(), policy: new Map() }
}

function keysOf(view: View): readonly string[] {
  return kinds.flatMap((kind) => [...view[kind].keys()].map((name) => keyOf(kind, name)))
}

/** The first complaint, without the value it is about. */
function describe(error: z.ZodError): string {
  const [issue] = error.issues
  return issue === undefined ? 'it is not valid' : `${issue.path.join('.')}: ${issue.message}`
}

function keyOf(kind: Kind, name: string): string {
  return `${kind}/${name}`
}

function partsOf(key: string): { readonly kind: Kind | undefined; readonly name: string } {
  const slash = key.indexOf('/')
  return { kind: kinds.find((kind) => kind === key.slice(0, slash)), name: key.slice(slash + 1) }
}

type Parsed = z.output<(typeof schemas)[Kind]>

function nameIn(value: Parsed): string {
  return 'fingerprint' in value ? value.fingerprint : value.name
}

function entryOf(value: Parsed): Value {
  return 'document' in value ? { ...value, position: positionOf(value.name) } : value
}

/** A policy that exists nowhere: who names it is denied everything. */
const unreadable = '(a record that cannot be read)'

function denying(kind: Kind, name: string): Value {
  switch (kind) {
    case 'certificate':
      return { fingerprint: name, status: 'REVOKED', policies: [], registeredAt: 0 }
    case 'thing':
      return { name, attributes: {}, groups: [], policies: [unreadable] }
    case 'policy':
      // No document counts as a malformed one, which denies.
      return { name, document: undefined, position: positionOf(name) }
  }
}

function positionOf(name: string): NamedPolicy['position'] {
  return { file: `(policy "${name}" in the store)`, line: 1, column: 1 }
}
