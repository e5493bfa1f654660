import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs'
import { dirname, resolve as resolvePath } from 'node:path'
import { textOf } from '../core/wire.ts'
import type { Redactor } from '../core/redactor.ts'
import type { Owner, Place, Reference, Resolve, Resolved } from '../core/reference.ts'

/** Bytes of a file behind `${file:…}`: keys and certificate chains are far smaller. */
export const maxSecretBytes = 64 * 1024

export interface ResolverOptions {
  /** The one part of Sluice it resolves for. */
  readonly owner: Owner
  /** Learns every resolved value, but for those in places where no secret stands. */
  readonly redactor: Redactor
  /** The environment; the process' own by default. */
  readonly env?: Readonly<Record<string, string | undefined>>
}

/**
 * Makes the resolver of one owner. It resolves what stands in the owner's own files and what all processes share (the
 * queue's address), for ingest also the addresses of queues that workers have for themselves, and refuses everything else without looking at it. The only place that reads the environment and
 * secret files for the configuration.
 */
export function createResolver(options: ResolverOptions): Resolve {
  const { owner, redactor, env = process.env } = options
  return (reference, place) => {
    if (!mayResolve(owner, place)) {
      const holder = holderOf(place)
      return { problem: `this reference belongs to ${holder} and is not resolved for ${nameOf(owner)}` }
    }
    const resolved =
      reference.kind === 'env' ? fromEnvironment(reference, env, owner) : fromFile(reference.path, place.file)
    if ('secret' in resolved) {
      if (place.isOpen?.(resolved.secret) !== true) redactor.add(resolved.secret)
      return { value: resolved.secret }
    }
    return resolved
  }
}

function mayResolve(owner: Owner, place: Place): boolean {
  if (place.owner.kind === 'shared') return true
  if (place.owner.kind === 'ingest') return owner.kind === 'ingest'
  if (place.owner.kind === 'queue' && owner.kind === 'ingest') return true
  return owner.kind === 'worker' && owner.name === place.owner.name
}

function holderOf({ owner }: Place): string {
  if (owner.kind === 'shared') return 'nobody'
  return owner.kind === 'queue' ? `worker ${owner.name} and ingest` : nameOf(owner)
}

type Found = Resolved | { readonly secret: string }

function fromEnvironment(
  { name, fallback }: Extract<Reference, { kind: 'env' }>,
  env: Readonly<Record<string, string | undefined>>,
  owner: Owner,
): Found {
  const value = Object.hasOwn(env, name) ? env[name] : undefined
  // As in a shell, `:-` stands in for an empty value too.
  if (value !== undefined && value !== '') return { secret: value }
  if (fallback !== undefined) return { value: fallback }
  const state = value === undefined ? 'is not set' : 'is empty'
  return {
    problem: `the environment variable ${name} ${state}; set it for ${nameOf(owner)}, or write \${env:${name}:-default}`,
  }
}

function fromFile(path: string, standsIn: string): Found {
  const file = resolvePath(dirname(standsIn), path)
  try {
    return readSecret(file)
  } catch (error) {
    return { problem: `the file ${file} cannot be read: ${reasonOf(error)}` }
  }
}

function readSecret(file: string): Found {
  // Non-blocking, because opening a pipe would wait for its writer.
  const descriptor = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK)
  try {
    if (!fstatSync(descriptor).isFile()) return { problem: `${file} is not a file` }
    const buffer = Buffer.alloc(maxSecretBytes + 1)
    let length = 0
    for (let read = -1; read !== 0 && length < buffer.length; length += read) {
      read = readSync(descriptor, buffer, length, buffer.length - length, null)
    }
    if (length > maxSecretBytes) return { problem: `the file ${file} has more than ${maxSecretBytes / 1024} KiB` }
    const text = textOf(buffer.subarray(0, length))
    if (text === undefined || text.includes('\0')) return { problem: `the file ${file} is not UTF-8 text` }
    const secret = text.replace(/\r?\n$/, '')
    return secret === '' ? { problem: `the file ${file} is empty` } : { secret }
  } finally {
    closeSync(descriptor)
  }
}

function reasonOf(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  if (code === 'ENOENT') return 'there is no such file'
  if (code === 'EACCES' || code === 'EPERM') return 'this process may not read it'
  return typeof code === 'string' ? code : 'reading failed'
}

function nameOf(owner: Owner): string {
  return owner.kind === 'ingest' ? 'ingest' : `worker ${owner.name}`
}
