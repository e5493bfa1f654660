import { basename, dirname, extname, join } from 'node:path'
import type { z } from 'zod'
import type { Directory, NamedPolicy, PrincipalEntry } from '../core/directory.ts'
import type { IdentitySection, IdentityShape } from '../core/identity-part.ts'
import { type Position, type Problem, formatPosition } from '../core/problem.ts'
import type { Resolve } from '../core/reference.ts'
import { filePathsIn, withAbsolutePaths } from './absolute-paths.ts'
import { withFileTexts } from './file-texts.ts'
import { displayName, emptyFile, listFiles, readYaml } from './files.ts'
import {
  type Gathered,
  type Kind,
  type OwnedPart,
  type Placed,
  directoryOf,
  nothingGathered,
  nouns,
} from './identity-entries.ts'
import { crossProblems } from './identity-links.ts'
import { groupSchema, identityFileSchema, policyName, principalSchema, thingSchema } from './identity-schema.ts'
import { type Path, dotted } from './path.ts'
import { substituteReferences } from './references.ts'
import { checkSchema } from './schema-problems.ts'
import { type YamlFile, valueAt } from './yaml.ts'

/** What policy/ finds in a policy document; `path` is dotted and starts at the document. */
export interface PolicyComplaint {
  readonly path: string
  readonly message: string
}

export interface IdentityFilesOptions {
  /** Absolute. */
  readonly folder: string
  readonly cwd: string
  /** Ingest's resolver. Left out: references stay open. */
  readonly resolve?: Resolve | undefined
  readonly examinePolicyDocument?: ((document: unknown) => readonly PolicyComplaint[]) | undefined
  /** The auth methods, whose proofs and sections stand in the files. */
  readonly shapes: readonly IdentityShape[]
}

export interface IdentityFiles {
  readonly problems: readonly Problem[]
  readonly directory: Directory
  readonly missing: boolean
  /** Whether a section has an entry of this name, or may have: entries with problems and files that can't be read count. */
  readonly mayHold: (section: string, name: string) => boolean
}

/** Reads identity/ with all folders in it. Files in identity/policies/ are policy documents named by their file. */
export async function readIdentityFiles(options: IdentityFilesOptions): Promise<IdentityFiles> {
  const paths = await listFiles(options.folder, ['.yaml', '.yml', '.json'], 8)
  const problems: Problem[] = []
  const gathered = nothingGathered()
  const documents = join(options.folder, 'policies')
  for (const path of paths ?? []) {
    const isDocument = dirname(path) === documents
    if (!isDocument && extname(path) === '.json') continue
    const place = { file: path, owner: { kind: 'ingest' } } as const
    // A policy document decides who may do what: it is read as it stands.
    const substitute = substituteReferences(options.resolve, (at) =>
      isDocument || at[0] === 'policies' ? undefined : place,
    )
    const { file, problems: unreadable } = await readYaml(path, displayName(path, options.cwd), substitute)
    problems.push(...unreadable)
    if (file === undefined) {
      if (isDocument) gathered.faulty.policies.add(basename(path, extname(path)))
      else gathered.incomplete = true
      continue
    }
    problems.push(...(isDocument ? gatherDocument(file, gathered, options) : gatherFile(file, gathered, options)))
  }
  problems.push(...crossProblems(gathered))
  const mayHold = (section: string, name: string): boolean =>
    gathered.incomplete || gathered.faultyInSections.has(name) || gathered.sections.get(section)?.has(name) === true
  return { problems, directory: directoryOf(gathered), missing: paths === undefined, mayHold }
}

function gatherDocument(file: YamlFile, gathered: Gathered, options: IdentityFilesOptions): Problem[] {
  return gatherPolicy(file, [], basename(file.path, extname(file.path)), gathered, options)
}

function gatherFile(file: YamlFile, gathered: Gathered, options: IdentityFilesOptions): Problem[] {
  // What it said of principals and policies is not taken back by an accident.
  if (file.value === null) return [file.problem([], emptyFile('principals'))]
  const outline = checkSchema(file, identityFileSchema(options.shapes), file.value)
  const problems = [...outline.problems]
  const into = <K extends Kind>(kind: K) => ({ kind, entries: gathered[kind], faulty: gathered.faulty[kind] })
  const each = (kind: string, use: (path: Path, value: unknown) => readonly Problem[]) => {
    const list = valueAt(file.value, [kind])
    if (Array.isArray(list)) for (const [index, value] of list.entries()) problems.push(...use([kind, index], value))
  }
  each('things', (path, value) =>
    gather({ ...into('things'), file, path, value, schema: thingSchema, make: (thing) => thing }),
  )
  each('groups', (path, value) =>
    gather({ ...into('groups'), file, path, value, schema: groupSchema, make: (group) => group }),
  )
  const principals = principalSchema(options.shapes)
  each('principals', (path, value) => {
    const position = file.position([...path, 'name'])
    const make = (entry: z.output<typeof principals>) => principalFrom(entry, position, options.shapes)
    const found = gather({ ...into('principals'), file, path, value, schema: principals, make })
    return found.length > 0 ? found : ownProofs(file, path, value, gathered, options)
  })
  for (const { type, section } of options.shapes) {
    if (section === undefined) continue
    each(section.key, (path, value) => gatherSection(file, path, value, type, section, gathered, options))
  }
  const policies = valueAt(file.value, ['policies'])
  if (typeof policies !== 'object' || policies === null || Array.isArray(policies)) return problems
  for (const name of Object.keys(policies))
    problems.push(...gatherPolicy(file, ['policies', name], name, gathered, options))
  return problems
}

interface Entry<Schema extends z.ZodType, Value> {
  readonly kind: Kind
  readonly entries: Map<string, Placed<Value>>
  readonly faulty: Set<string>
  readonly file: YamlFile
  readonly path: Path
  readonly value: unknown
  readonly schema: Schema
  readonly make: (value: z.output<Schema>) => Value
}

function gather<Schema extends z.ZodType, Value>(entry: Entry<Schema, Value>): readonly Problem[] {
  const { kind, entries, faulty, file, path } = entry
  const checked = checkSchema(file, entry.schema, entry.value, { base: path })
  const name = valueAt(entry.value, ['name'])
  if (typeof name !== 'string') return checked.problems
  const earlier = entries.get(name)
  if (!checked.ok) faulty.add(name)
  else if (earlier === undefined) entries.set(name, { value: entry.make(checked.value), file, path })
  if (earlier === undefined) return checked.problems
  return [...checked.problems, alreadyAt(file, [...path, 'name'], nouns[kind], name, placeOf(earlier))]
}

function principalFrom(
  entry: z.output<ReturnType<typeof principalSchema>>,
  position: Position,
  shapes: readonly IdentityShape[],
): PrincipalEntry {
  const values: Readonly<Record<string, unknown>> = entry
  const types = shapes.map(({ type }) => type)
  const own = Object.fromEntries(Object.entries(values).filter(([key]) => !types.includes(key)))
  const proofs = Object.fromEntries(Object.entries(values).filter(([key]) => types.includes(key)))
  // What is left when the proofs are taken out is the schema's own part.
  return { ...(own as Omit<PrincipalEntry, 'proofs' | 'position'>), proofs, position }
}

/** Reads the files that an entry's proofs name, and has its methods look at them. */
function ownProofs(
  file: YamlFile,
  path: Path,
  written: unknown,
  gathered: Gathered,
  options: IdentityFilesOptions,
): readonly Problem[] {
  const name = valueAt(written, ['name'])
  const placed = typeof name === 'string' ? gathered.principals.get(name) : undefined
  if (placed === undefined || placed.file !== file) return []
  const problems: Problem[] = []
  const proofs: Record<string, unknown> = { ...placed.value.proofs }
  for (const { type, proof: part } of options.shapes) {
    if (part === undefined || !Object.hasOwn(proofs, type)) continue
    const at = [...path, type]
    const owned = own(file, at, proofs[type], { part, kind: type, name: placed.value.name }, gathered, options)
    proofs[type] = owned.value
    problems.push(...owned.problems)
  }
  gathered.principals.set(placed.value.name, { ...placed, value: { ...placed.value, proofs } })
  return problems
}

function gatherSection(
  file: YamlFile,
  path: Path,
  value: unknown,
  type: string,
  section: IdentitySection,
  gathered: Gathered,
  options: IdentityFilesOptions,
): readonly Problem[] {
  let entries = gathered.sections.get(section.key)
  if (entries === undefined) gathered.sections.set(section.key, (entries = new Map()))
  const checked = checkSchema(file, section.schema, value, { base: path })
  const name = valueAt(value, ['name'])
  if (typeof name !== 'string') return checked.problems
  if (!checked.ok) {
    gathered.faultyInSections.add(name)
    return checked.problems
  }
  const earlier = entries.get(name)
  if (earlier !== undefined) return [alreadyAt(file, [...path, 'name'], section.noun, name, earlier.value.position)]
  const owned = own(
    file,
    path,
    checked.value,
    { part: section, kind: `${type} ${section.noun}`, name },
    gathered,
    options,
  )
  entries.set(name, { value: { name, value: owned.value, position: file.position([...path, 'name']) }, file, path })
  return owned.problems
}

/** Reads the files that a part of a method names, and has the method look at it once they are all there. */
function own(
  file: YamlFile,
  path: Path,
  value: unknown,
  of: Pick<OwnedPart, 'part' | 'kind' | 'name'>,
  gathered: Gathered,
  options: IdentityFilesOptions,
): { readonly value: unknown; readonly problems: readonly Problem[] } {
  const { schema } = of.part
  const read = withFileTexts(file, schema, withAbsolutePaths(schema, value, dirname(file.path)), path, options.resolve)
  const folder = dirname(file.path)
  for (const named of [...read.files, ...filePathsIn(schema, value, folder)]) gathered.files.add(named)
  gathered.parts.push({ ...of, value: read.value, file, path, unread: read.unread })
  if (read.problems.length > 0 || read.unread || options.resolve === undefined) return read
  const problems = (of.part.examine?.(read.value) ?? []).flatMap(({ path: inner, message }) => {
    const at = file.pathOf(inner, path)
    // What stands in the place of a reference that nobody resolved is no value to complain about.
    return file.hasOpenReferencesBelow(at) ? [] : [file.problem(at, `${dotted(at)}: ${message}`)]
  })
  return { value: read.value, problems }
}

function gatherPolicy(
  file: YamlFile,
  path: Path,
  name: string,
  gathered: Gathered,
  options: IdentityFilesOptions,
): Problem[] {
  const problems: Problem[] = []
  const position = file.keyPosition(path)
  if (!policyName.safeParse(name).success) {
    problems.push(
      file.problem(
        path,
        `"${name}" is no name of a policy: it has 1 to 128 letters, digits or any of _ + = , . @ -`,
        position,
      ),
    )
  }
  const earlier = gathered.policies.get(name)
  if (earlier !== undefined) problems.push(alreadyAt(file, path, 'policy', name, earlier.value.position))
  else gathered.policies.set(name, { value: policyAt(file, path, name, position), file, path })
  for (const { path: inner, message } of options.examinePolicyDocument?.(valueAt(file.value, path)) ?? []) {
    const at = file.pathOf(inner, path)
    problems.push(file.problem(at, at.length === 0 ? message : `${dotted(at)}: ${message}`))
  }
  return problems
}

function policyAt(file: YamlFile, path: Path, name: string, position: Position): NamedPolicy {
  const written = valueAt(file.value, [...path, 'Statement'])
  const count = Array.isArray(written) ? written.length : undefined
  const statements =
    count === undefined
      ? [file.position([...path, 'Statement'])]
      : Array.from({ length: count }, (_, index) => file.position([...path, 'Statement', index]))
  return { name, document: valueAt(file.value, path), position, statements }
}

function alreadyAt(file: YamlFile, path: Path, noun: string, name: string, position: Position): Problem {
  return file.problem(
    path,
    `${/^[aeiou]/.test(noun) ? 'an' : 'a'} ${noun} named "${name}" is already at ${formatPosition(position)}`,
    positionOf(file, path),
  )
}

/** A name is a value in lists and a key in `policies`. */
function positionOf(file: YamlFile, path: Path): Position {
  return path.at(-1) === 'name' ? file.position(path) : file.keyPosition(path)
}

function placeOf({ file, path }: Placed<unknown>): Position {
  return file.position([...path, 'name'])
}
