import { resolve as resolvePath } from 'node:path'
import type { Directory } from '../core/directory.ts'
import type { AnyCredentialDefinition, AnyForwarderDefinition } from '../core/forwarder.ts'
import type { IdentityShape } from '../core/identity-part.ts'
import type { Position, Problem } from '../core/problem.ts'
import type { Owner, Resolve } from '../core/reference.ts'
import type { RuleDefinition } from '../core/rule.ts'
import type { WorkerDefinition } from '../core/worker.ts'
import { displayName } from './files.ts'
import { nothingGathered, directoryOf } from './identity-entries.ts'
import { type IdentityFiles, type PolicyComplaint, readIdentityFiles } from './identity-files.ts'
import { suggestion } from '../core/nearest.ts'
import { type BridgeNote, notesOn } from './notes.ts'
import { type RuleComplaint, type RuleFiles, readRuleFiles } from './rule-files.ts'
import { type ConfigFolder, type SluiceFile, type TemplateComplaint, readSluiceFile } from './sluice-file.ts'
import { type BridgeSettings, type SluiceSettings, sluiceSchema } from './sluice-schema.ts'
import { unmatchedProblems } from './unmatched.ts'
import { readWorkerFiles } from './worker-files.ts'
import { complainAboutShared } from './worker-queue.ts'

/**
 * What a process is, which decides what it reads and whose references it resolves.
 * - `everything`: all files, every reference for its owner (check, and start in one process).
 * - `ingest`: all files; references of workers stay open but for those in `queue`, so `settings` and `credential` of workers are not given.
 * - `workers`: sluice.yaml without doors, and the files of these workers; no rules, no identities. Where all of them have a queue of their
 *   own, `queue` of sluice.yaml is not read, and `settings` has the default there.
 */
export type Role =
  | { readonly kind: 'everything' }
  | { readonly kind: 'ingest' }
  | { readonly kind: 'workers'; readonly names: readonly string[] }

export interface LoadOptions {
  /** The path of sluice.yaml. */
  readonly file: string
  readonly role: Role
  /** Makes a resolver for an owner (secrets/). Left out: nothing is resolved, and nothing is said about such values. */
  readonly resolverFor?: ((owner: Owner) => Resolve) | undefined
  /** Kinds and credential types. Left out (ingest doesn't load them): workers and `with` are checked in outline only. */
  readonly forwarders?: readonly AnyForwarderDefinition[] | undefined
  readonly credentials?: readonly AnyCredentialDefinition[] | undefined
  /** rules/: whether expressions and templates of a rule parse. */
  readonly examineRule?: ((rule: RuleDefinition) => readonly RuleComplaint[]) | undefined
  /** rules/: whether a template of a bridge (`thing`, `id`) parses. */
  readonly examineTemplate?: ((template: string) => readonly TemplateComplaint[]) | undefined
  /** policy/: whether a document is a policy. */
  readonly examinePolicyDocument?: ((document: unknown) => readonly PolicyComplaint[]) | undefined
  /** What the policies and things of identity/ make of a bridge, where it can't be meant so. */
  readonly notesOnBridge?: ((bridge: BridgeSettings, directory: Directory) => readonly BridgeNote[]) | undefined
  /** ingest/: whether the certificates that `tls` names can be served; each text begins with its dotted setting. */
  readonly examineServerTls?: ((tls: SluiceSettings['tls']) => Promise<readonly string[]>) | undefined
  /** identity/: the auth methods, whose proofs and sections stand in the files there. */
  readonly authMethods?: readonly IdentityShape[] | undefined
  /** Where relative paths start and what problems are shown relative to; the process' own by default. */
  readonly cwd?: string
}

/** The whole configuration, checked. */
export interface Config {
  /** Absolute path of sluice.yaml. */
  readonly file: string
  readonly settings: SluiceSettings
  readonly rules: readonly RuleDefinition[]
  /** What the files say in so many words: no rules (`rules: []`), nothing at all in sluice.yaml. Without it, that is an accident on a reload. */
  readonly saysNoRules: boolean
  readonly isEmpty: boolean
  readonly workers: ReadonlyMap<string, WorkerDefinition>
  readonly directory: Directory
  /** What is fine here and may not be meant, in sluice.yaml. */
  readonly notes: readonly Problem[]
}

/** `config` is there exactly when there are no problems. Problems are in the order of files and lines. */
export interface Loaded {
  readonly problems: readonly Problem[]
  readonly config?: Config
}

/** Reads and checks every file of the configuration that the role needs, all problems at once. Changes nothing. */
export async function loadConfig(options: LoadOptions): Promise<Loaded> {
  const { role, resolverFor } = options
  const cwd = options.cwd ?? process.cwd()
  const path = resolvePath(cwd, options.file)
  const resolve = resolverFor?.(ownerOf(role))
  const readSluice = (withQueue: boolean) =>
    readSluiceFile({
      path,
      name: displayName(path, cwd),
      resolve,
      withDoors: role.kind !== 'workers',
      withQueue,
      examineTemplate: options.examineTemplate,
    })
  let sluice = await readSluice(role.kind !== 'workers')
  // Without a readable sluice.yaml nobody knows where the other files are.
  if (sluice.folders === undefined) return { problems: sluice.problems }

  const { folders } = sluice
  const workers = await readWorkerFiles({
    folder: folders.workers.path,
    cwd,
    forwarders: options.forwarders,
    credentials: options.credentials,
    resolverFor:
      role.kind === 'ingest' || resolverFor === undefined ? undefined : (name) => resolverFor({ kind: 'worker', name }),
    queueResolverFor:
      resolverFor && ((name) => resolverFor(role.kind === 'ingest' ? { kind: 'ingest' } : { kind: 'worker', name })),
    only: role.kind === 'workers' ? role.names : undefined,
  })
  // A worker with a queue of its own needs no way to that of the others, and so gets none.
  if (role.kind === 'workers' && !hasOwnQueues(role.names, workers.withQueue)) sluice = await readSluice(true)
  const ingest = role.kind !== 'workers'
  const identity = ingest
    ? await readIdentityFiles({
        folder: folders.identity.path,
        cwd,
        resolve,
        examinePolicyDocument: options.examinePolicyDocument,
        shapes: options.authMethods ?? [],
      })
    : noIdentity
  const rules = ingest
    ? await readRuleFiles({
        folder: folders.rules.path,
        cwd,
        // A problem in sluice.yaml must not hide those in rules/, so its defaults stand in for it.
        limits: (sluice.settings ?? sluiceSchema.parse({})).limits,
        workers: workers.workers,
        workerNames: workers.names,
        forwarders: options.forwarders,
        examineRule: options.examineRule,
      })
    : noRules

  const problems = [
    ...sluice.problems,
    ...missingFolder(workers.missing, folders.workers),
    ...missingFolder(identity.missing, folders.identity),
    ...missingFolder(rules.missing, folders.rules),
    ...workers.problems,
    ...identity.problems,
    ...rules.problems,
    ...(ingest ? [...unknownBridgePolicies(sluice, identity), ...unknownAuthorizers(sluice, identity)] : []),
    ...(ingest && sluice.settings !== undefined ? complainAboutShared(sluice.settings.queue.url, workers) : []),
    ...(ingest ? unmatchedProblems(sluice, workers, options) : []),
    ...(ingest ? await unservable(sluice, options) : []),
  ].toSorted(inOrder)
  if (problems.length > 0 || sluice.settings === undefined) return { problems }
  const { settings } = sluice
  return {
    problems,
    config: {
      file: path,
      settings,
      rules: rules.rules,
      saysNoRules: rules.saysNone,
      isEmpty: sluice.file?.value === null,
      workers: workers.workers,
      directory: identity.directory,
      notes: ingest
        ? notesOn(sluice, workers.workers, (bridge) => options.notesOnBridge?.(bridge, identity.directory) ?? [])
        : [],
    },
  }
}

const noIdentity: IdentityFiles = {
  problems: [],
  directory: directoryOf(nothingGathered()),
  missing: false,
  mayHold: () => false,
}
const noRules: RuleFiles = { problems: [], rules: [], missing: false, saysNone: false }

/** Of sluice.yaml, workers resolve only what all processes share, so any of them will do. */
function ownerOf(role: Role): Owner {
  const [name] = role.kind === 'workers' ? role.names : []
  return name === undefined ? { kind: 'ingest' } : { kind: 'worker', name }
}

function hasOwnQueues(names: readonly string[], withQueue: ReadonlyMap<string, Position>): boolean {
  return names.length > 0 && names.every((name) => withQueue.has(name))
}

/** A missing default folder is an empty one: nothing is allowed, nothing is routed. */
function missingFolder(missing: boolean, folder: ConfigFolder): readonly Problem[] {
  return missing && folder.missing !== undefined ? [folder.missing] : []
}

/** Certificates are read by the listeners, again and again; here only to say what is wrong with them before anything starts. */
async function unservable(
  { settings, file }: SluiceFile,
  { examineServerTls }: Pick<LoadOptions, 'examineServerTls'>,
): Promise<Problem[]> {
  if (settings === undefined || file === undefined || examineServerTls === undefined) return []
  return (await examineServerTls(settings.tls)).map((text) => {
    const setting = /^[\w.]+/.exec(text)?.[0] ?? 'tls'
    return file.problem(file.pathOf(setting), text)
  })
}

function unknownBridgePolicies({ settings, file }: SluiceFile, { directory, problems }: IdentityFiles): Problem[] {
  if (settings === undefined || file === undefined || problems.length > 0) return []
  return settings.bridges.flatMap(({ policies = [] }, bridge) =>
    policies.flatMap((policy, index) => {
      if (directory.policies.has(policy)) return []
      const path = ['bridges', bridge, 'policies', index]
      return [
        file.problem(
          path,
          `${path.join('.')}: there is no policy "${policy}"${suggestion(policy, directory.policies.keys())}`,
        ),
      ]
    }),
  )
}

/** The authorizer of a server name stands in identity/. */
function unknownAuthorizers({ settings, file }: SluiceFile, { directory, mayHold }: IdentityFiles): Problem[] {
  if (settings === undefined || file === undefined) return []
  return settings.tls.names.flatMap(({ defaultAuthorizer: name }, index) => {
    if (name === undefined || mayHold(authorizers, name)) return []
    const path = ['tls', 'names', index, 'defaultAuthorizer']
    const close = suggestion(name, directory.sections.get(authorizers)?.keys() ?? [])
    return [file.problem(path, `${path.join('.')}: there is no authorizer "${name}" in identity/${close}`)]
  })
}

/** The section of identity/ that `tls` of sluice.yaml speaks of. */
const authorizers = 'authorizers'

function inOrder(a: Problem, b: Problem): number {
  if (a.file !== b.file) return a.file < b.file ? -1 : 1
  return a.line - b.line || a.column - b.column
}
