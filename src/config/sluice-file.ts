import { dirname, resolve as resolvePath } from 'node:path'
import type { Problem } from '../core/problem.ts'
import type { Place, Resolve } from '../core/reference.ts'
import { withAbsolutePaths } from './absolute-paths.ts'
import { contradictions } from './contradictions.ts'
import { readYaml, wholeFileProblem } from './files.ts'
import { isOpenPath } from './open-places.ts'
import { type Path, dotted } from './path.ts'
import { substituteReferences } from './references.ts'
import { type Checked, checkSchema } from './schema-problems.ts'
import { type SluiceSettings, sluiceSchema } from './sluice-schema.ts'
import { readTlsFiles, type TlsFiles } from './tls-files.ts'
import { type YamlFile, valueAt } from './yaml.ts'
import type { Substitute } from './yaml-reading.ts'

/** Keys that only ingest needs; a worker's process neither checks nor resolves what stands there. */
const ingestKeys: readonly string[] = ['listen', 'tls', 'broker', 'bridges', 'rules', 'unmatched', 'identity']

export interface SluiceFileOptions {
  /** Absolute. */
  readonly path: string
  /** As problems show it. */
  readonly name: string
  readonly resolve: Resolve | undefined
  /** False for a worker's process, which has no doors. */
  readonly withDoors: boolean
  /** False for a process whose workers all have queues of their own: it has no business in the one that the others share. */
  readonly withQueue: boolean
  /** Checks a `${ … }` template of a bridge; offsets count inside the text. */
  readonly examineTemplate?: ((template: string) => readonly TemplateComplaint[]) | undefined
}

export interface TemplateComplaint {
  readonly message: string
  readonly offset?: number
}

/** A folder of the configuration, and where sluice.yaml names it. */
export interface ConfigFolder {
  readonly path: string
  /** What to say where there is no such folder; undefined where it is the default one, which may be missing. */
  readonly missing: Problem | undefined
}

export interface SluiceFile {
  readonly problems: readonly Problem[]
  /** There even where the file has problems, so that those of the other files can be told at once; not where there is no file. */
  readonly folders: Readonly<Record<'rules' | 'workers' | 'identity', ConfigFolder>> | undefined
  readonly settings: SluiceSettings | undefined
  readonly file: YamlFile | undefined
}

/** Reads sluice.yaml. A worker's process gets the defaults where only ingest has something to say. */
export async function readSluiceFile(options: SluiceFileOptions): Promise<SluiceFile> {
  const { path, name } = options
  const { file, problems } = await readYaml(path, name, substituteFor(options))
  const folders = foldersOf(path, file)
  if (file === undefined) {
    const absent = problems.some(isAbsent)
    return { problems: problems.map(withHint), folders: absent ? undefined : folders, settings: undefined, file }
  }
  const value = withoutKeys(file.value, skippedKeys(options))
  const checked = checkWhatIsKnown(file, value ?? {})
  const found = [...problems, ...checked.problems, ...examine(file, checked, options)]
  if (!checked.ok || found.length > 0) return { problems: found, folders, settings: undefined, file }

  const settings = withAbsolutePaths(sluiceSchema, checked.value, dirname(path)) as SluiceSettings
  const read = options.resolve === undefined ? { settings, problems: [] } : readTls(file, settings, options.resolve)
  return { problems: read.problems, folders, settings: read.settings, file }
}

function isAbsent({ message }: Problem): boolean {
  return message.endsWith('there is no such file')
}

/** A main file that is not there is mostly a wrong folder. */
function withHint(problem: Problem): Problem {
  if (!isAbsent(problem)) return problem
  return wholeFileProblem(problem.file, `${problem.message}; say --config FILE if it is elsewhere`)
}

/** What stands there is neither checked nor resolved. */
function skippedKeys({ withDoors, withQueue }: SluiceFileOptions): readonly string[] {
  return [...(withDoors ? [] : ingestKeys), ...(withQueue ? [] : ['queue'])]
}

function substituteFor(options: SluiceFileOptions): Substitute {
  const { path, resolve } = options
  const skipped = skippedKeys(options)
  const substitute = substituteReferences(resolve, (at): Place => ({
    file: path,
    owner: { kind: isIngests(at) ? 'ingest' : 'shared' },
    ...(isOpenPath(at) && { isOpen: () => true }),
  }))
  return (text, at) => (skipped.includes(String(at[0])) ? { text } : substitute(text, at))
}

/** Where a key can't be read without its references, and nothing else is wrong, the default stands in for it. */
function checkWhatIsKnown(file: YamlFile, value: object): Checked<typeof sluiceSchema> {
  const checked = checkSchema(file, sluiceSchema, value)
  if (checked.ok || checked.problems.length > 0) return checked
  const open = Object.keys(value).filter((key) => file.hasOpenReferencesBelow([key]))
  return checkSchema(file, sluiceSchema, withoutKeys(value, open))
}

function isIngests(path: Path): boolean {
  return ingestKeys.includes(String(path[0]))
}

function withoutKeys(value: unknown, keys: readonly string[]): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
  return Object.fromEntries(Object.entries(value).filter(([key]) => !keys.includes(key)))
}

/** The default folders where the file cannot be read: other files' problems can be told all the same. */
function foldersOf(path: string, file: YamlFile | undefined): SluiceFile['folders'] {
  const folder = (key: string): ConfigFolder => {
    const written = valueAt(file?.value, [key])
    const name = typeof written === 'string' ? written : undefined
    const missing = name === undefined ? undefined : file?.problem([key], `${key}: there is no folder "${name}"`)
    return { path: resolvePath(dirname(path), name ?? `./${key}`), missing }
  }
  return { rules: folder('rules'), workers: folder('workers'), identity: folder('identity') }
}

function examine(file: YamlFile, checked: Checked<typeof sluiceSchema>, options: SluiceFileOptions): Problem[] {
  if (!checked.ok) return []
  const problems = [...nameTwice(file, checked.value.tls.names), ...contradictions(file, checked.value.limits)]
  const first = new Map<string, number>()
  for (const [index, bridge] of checked.value.bridges.entries()) {
    const path = ['bridges', index]
    const line = first.get(bridge.name)
    if (line !== undefined)
      problems.push(file.problem([...path, 'name'], `a bridge named "${bridge.name}" is already on line ${line}`))
    else first.set(bridge.name, file.position([...path, 'name']).line)
    for (const key of ['thing', 'id'] as const) {
      const template = bridge[key]
      if (typeof template !== 'string') continue
      for (const { message, offset } of options.examineTemplate?.(template) ?? []) {
        const at = [...path, key]
        problems.push(
          file.problem(
            at,
            `${at.join('.')}: ${message}`,
            offset === undefined ? undefined : file.positionInside(at, offset),
          ),
        )
      }
    }
  }
  return problems
}

function nameTwice(file: YamlFile, names: SluiceSettings['tls']['names']): Problem[] {
  const first = new Map<string, number>()
  return names.flatMap(({ name }, index) => {
    const path = ['tls', 'names', index, 'name']
    const line = first.get(name)
    if (line !== undefined) return [file.problem(path, `the server name "${name}" is already on line ${line}`)]
    first.set(name, file.position(path).line)
    return []
  })
}

/** Certificates and keys of the listeners stay paths, because they are read again when they change; here they are looked for only. */
function missingCertificates(file: YamlFile, { tls }: SluiceSettings, resolve: Resolve): Problem[] {
  const problems: Problem[] = []
  const look = (at: Path, certificates: SluiceSettings['tls']['certificates'] = []): void => {
    for (const [index, pair] of certificates.entries()) {
      for (const key of ['certificate', 'key'] as const) {
        const path = [...at, 'certificates', index, key]
        const place: Place = { file: file.path, owner: { kind: 'ingest' } }
        const resolved = resolve({ kind: 'file', path: pair[key] }, place)
        if ('problem' in resolved) problems.push(file.problem(path, `${dotted(path)}: ${resolved.problem}`))
        else if ('value' in resolved && !resolved.value.includes('-----BEGIN '))
          problems.push(file.problem(path, `${dotted(path)} must be the path of a PEM file`))
      }
    }
  }
  look(['tls'], tls.certificates)
  for (const [index, { certificates }] of tls.names.entries()) look(['tls', 'names', index], certificates)
  return problems
}

function readTls(
  file: YamlFile,
  settings: SluiceSettings,
  resolve: Resolve,
): { settings: SluiceSettings; problems: Problem[] } {
  const problems: Problem[] = []
  const read = <Part extends { readonly tls?: TlsFiles }>(part: Part, at: Path, owner: Place['owner']): Part => {
    const found = readTlsFiles(file, part, at, owner, resolve)
    problems.push(...found.problems)
    return found.part
  }
  const bridges = settings.bridges.map((bridge, index) => read(bridge, ['bridges', index], { kind: 'ingest' }))
  const queue = read(settings.queue, ['queue'], { kind: 'shared' })
  problems.push(...missingCertificates(file, settings, resolve))
  return { settings: { ...settings, bridges, queue }, problems }
}
