import { basename, dirname, extname } from 'node:path'
import type { AnyCredentialDefinition, AnyForwarderDefinition } from '../core/forwarder.ts'
import type { Position, Problem } from '../core/problem.ts'
import type { Place, Resolve } from '../core/reference.ts'
import type { WorkerDefinition } from '../core/worker.ts'
import { withAbsolutePaths } from './absolute-paths.ts'
import { suggestion } from '../core/nearest.ts'
import { substituteReferences } from './references.ts'
import { checkSchema } from './schema-problems.ts'
import { shortName } from './sluice-schema.ts'
import { checkWith } from './with-options.ts'
import { checkCredential } from './worker-credential.ts'
import { checkOwnQueue, ownerOfQueue } from './worker-queue.ts'
import { literalKeys, workerKeys, workerSchema } from './worker-schema.ts'
import { type YamlFile, type YamlSource, parseYaml, valueAt } from './yaml.ts'

/** The kinds and credential types there are. Without forwarders, a worker file is checked in outline only. */
export interface Registries {
  readonly forwarders?: readonly AnyForwarderDefinition[] | undefined
  readonly credentials?: readonly AnyCredentialDefinition[] | undefined
}

export interface ReadWorker {
  readonly problems: readonly Problem[]
  /** Where its name stands, or the file begins. */
  readonly position: Position
  readonly definition?: WorkerDefinition
  /** Where it says `queue:`, be that right or not. */
  readonly queueAt?: Position
}

/** The name that a file gives its worker: `name:`, else the file's own. */
export function workerNameOf(source: YamlSource): string {
  const written = valueAt(parseYaml(source).file?.value, ['name'])
  return typeof written === 'string' ? written : stemOf(source.path)
}

/** A file's name without folder and extension. */
export function stemOf(path: string): string {
  return basename(path, extname(path))
}

/**
 * Reads one worker file. Without `resolve` its references stay open, and `settings` and `credential` are not given; `resolveQueue` is for
 * its `queue:`, which ingest reads as well.
 */
export function readWorker(
  source: YamlSource,
  name: string,
  registries: Registries,
  resolve: Resolve | undefined,
  resolveQueue: Resolve | undefined,
): ReadWorker {
  const place: Place = { file: source.path, owner: { kind: 'worker', name } }
  const ofWorker = substituteReferences(resolve, ([key]) => (literalKeys.includes(String(key)) ? undefined : place))
  const ofQueue = substituteReferences(resolveQueue, () => ({ file: source.path, owner: ownerOfQueue(name) }))
  const { file, problems } = parseYaml(source, (text, path) => (path[0] === 'queue' ? ofQueue : ofWorker)(text, path))
  if (file === undefined) return { problems, position: { file: source.name, line: 1, column: 1 } }
  const position = file.position(['name'])
  if (typeof file.value !== 'object' || file.value === null || Array.isArray(file.value)) {
    const message = 'a worker file holds one mapping: kind, and what the kind wants'
    return { problems: [...problems, file.problem([], message)], position }
  }

  const [{ queue: written, ...common }, rest] = divided(file.value)
  const queue = checkOwnQueue(file, written, name, resolveQueue)
  const said = written === undefined ? {} : { queueAt: file.position(['queue']) }
  const base = checkSchema(file, workerSchema, common)
  const open = resolve === undefined || file.hasOpenReferences
  const kind = checkKind(file, common, rest, registries, open)
  const found = [
    ...problems,
    ...complainAboutDefaultName(file, name),
    ...base.problems,
    ...queue.problems,
    ...kind.problems,
  ]
  if (!base.ok) return { problems: found, position, ...said }
  const { credential: _, queue: __, ...values } = base.value
  const own = queue.value === undefined ? {} : { queue: queue.value }
  return { problems: found, position, definition: { ...values, ...own, name, position, ...kind.resolved }, ...said }
}

function complainAboutDefaultName(file: YamlFile, name: string): Problem[] {
  if (valueAt(file.value, ['name']) !== undefined || shortName.safeParse(name).success) return []
  const remedy = 'use letters, digits, "_" and "-", or write name:'
  return [file.problem([], `the file's name "${name}" cannot be the worker's: ${remedy}`)]
}

type Mapping = Readonly<Record<string, unknown>>

/** What every worker has, and what is its kind's. */
function divided(value: object): [Mapping, Mapping] {
  const isCommon = ([key]: readonly [string, unknown]) => workerKeys.includes(key)
  const entries = Object.entries(value)
  return [Object.fromEntries(entries.filter(isCommon)), Object.fromEntries(entries.filter((entry) => !isCommon(entry)))]
}

interface CheckedKind {
  readonly problems: readonly Problem[]
  readonly resolved?: Pick<WorkerDefinition, 'settings' | 'credential'>
}

function checkKind(
  file: YamlFile,
  common: Mapping,
  rest: Mapping,
  { forwarders, credentials = [] }: Registries,
  open: boolean,
): CheckedKind {
  const { kind } = common
  if (typeof kind !== 'string' || forwarders === undefined) return { problems: [] }
  const forwarder = forwarders.find((definition) => definition.kind === kind)
  if (forwarder === undefined) {
    const kinds = forwarders.map((definition) => definition.kind)
    const hint = suggestion(kind, kinds) || `; there are ${kinds.join(', ')}`
    return { problems: [file.problem(['kind'], `there is no kind "${kind}"${hint}`)] }
  }

  const settings = checkSchema(file, forwarder.settings, rest, { alsoKnown: workerKeys })
  const own = common['with'] ?? {}
  const options = checkWith({ file, path: ['with'], own, defaults: {}, schema: forwarder.with, partial: true })
  const credential = checkCredential(file, common['credential'], forwarder, credentials)
  const problems = [...settings.problems, ...options, ...credential.problems]
  if (!settings.ok || open) return { problems }
  return {
    problems: [...problems, ...examine(file, forwarder, settings.value)],
    resolved: {
      settings: withAbsolutePaths(forwarder.settings, settings.value, dirname(file.path)),
      ...(credential.value !== undefined && { credential: credential.value }),
    },
  }
}

function examine(file: YamlFile, forwarder: AnyForwarderDefinition, settings: unknown): Problem[] {
  return (forwarder.examine?.(settings) ?? []).map(({ path, message }) =>
    file.problem(file.pathOf(path), path === '' ? message : `${path}: ${message}`),
  )
}
