import { basename, extname } from 'node:path'
import type { AnyForwarderDefinition } from '../core/forwarder.ts'
import { type Position, type Problem, formatPosition } from '../core/problem.ts'
import type { RuleDefinition } from '../core/rule.ts'
import type { WorkerDefinition } from '../core/worker.ts'
import { displayName, emptyFile, listFiles, readYaml } from './files.ts'
import { suggestion } from '../core/nearest.ts'
import { type Path, dotted } from './path.ts'
import { refuseReferences } from './references.ts'
import { type WrittenRule, ruleName, ruleSchema } from './rule-schema.ts'
import { checkSchema } from './schema-problems.ts'
import type { Limits } from './sluice-schema.ts'
import { checkWith, templatesIn } from './with-options.ts'
import { type YamlFile, valueAt } from './yaml.ts'

/** What rules/ finds in a rule; `path` is dotted and starts at the rule, `offset` counts inside the text at that path. */
export interface RuleComplaint {
  readonly path: string
  readonly message: string
  readonly offset?: number
}

export interface RuleFilesOptions {
  /** Absolute. */
  readonly folder: string
  readonly cwd: string
  readonly limits: Limits
  readonly workers: ReadonlyMap<string, WorkerDefinition>
  /** Every worker that a file names, also where that file has problems. */
  readonly workerNames: ReadonlySet<string>
  readonly forwarders?: readonly AnyForwarderDefinition[] | undefined
  readonly examineRule?: ((rule: RuleDefinition) => readonly RuleComplaint[]) | undefined
}

export interface RuleFiles {
  readonly problems: readonly Problem[]
  readonly rules: readonly RuleDefinition[]
  readonly missing: boolean
  /** Some file says that it is to hold none. */
  readonly saysNone: boolean
}

/** Reads rules/ and one level of folders in it. The order of the rules is that of the files' names. */
export async function readRuleFiles(options: RuleFilesOptions): Promise<RuleFiles> {
  const paths = await listFiles(options.folder, ['.yaml', '.yml'], 1)
  const problems: Problem[] = []
  const rules: RuleDefinition[] = []
  const first = new Map<string, Position>()
  let saysNone = false
  const context = { ...options, schema: ruleSchema(options.limits) }
  for (const path of paths ?? []) {
    const { file, problems: unreadable } = await readYaml(path, displayName(path, options.cwd), refuseReferences)
    problems.push(...unreadable)
    if (file === undefined) continue
    saysNone ||= holdsNone(file.value)
    for (const read of readFile(file, context)) {
      problems.push(...read.problems)
      if (read.name === undefined) continue
      const position = file.position([...read.path, 'name'])
      const earlier = first.get(read.name)
      if (earlier === undefined) first.set(read.name, position)
      else
        problems.push(
          file.problem([...read.path, 'name'], `a rule named "${read.name}" is already at ${formatPosition(earlier)}`),
        )
      if (read.rule !== undefined) rules.push(read.rule)
    }
  }
  const [overflow] = rules.slice(options.limits.rules)
  if (overflow !== undefined) {
    problems.push({
      ...overflow.position,
      path: '',
      message: `there are ${rules.length} rules, and at most ${options.limits.rules} are allowed (limits.rules)`,
    })
  }
  return { problems, rules, missing: paths === undefined, saysNone }
}

function holdsNone(value: unknown): boolean {
  const list = Array.isArray(value) ? value : valueAt(value, ['rules'])
  return Array.isArray(list) && list.length === 0
}

interface ReadRule {
  readonly problems: readonly Problem[]
  readonly path: Path
  readonly name?: string
  readonly rule?: RuleDefinition
}

/** The options, with the schema made once for all rules. */
type Context = RuleFilesOptions & { readonly schema: ReturnType<typeof ruleSchema> }

/** A file holds one rule, a list of rules, or `rules:` with a list. */
function readFile(file: YamlFile, context: Context): ReadRule[] {
  const { value } = file
  // An editor on a full disk leaves such a file; what routes messages is not gone because somebody saved it.
  if (value === null) return [{ path: [], problems: [file.problem([], emptyFile('rules'))] }]
  if (Array.isArray(value)) return value.map((_, index) => readRule(file, [index], undefined, context))
  const list = valueAt(value, ['rules'])
  if (list === undefined) return [readRule(file, [], basename(file.path, extname(file.path)), context)]
  const beside = Object.keys(value as object).filter((key) => key !== 'rules')
  const problems = beside.map((key) =>
    file.problem([key], `"${key}" cannot stand beside "rules"; put it into the rule`, file.keyPosition([key])),
  )
  if (!Array.isArray(list)) {
    return [{ path: [], problems: [...problems, file.problem(['rules'], 'rules must be a list')] }]
  }
  return [{ path: [], problems }, ...list.map((_, index) => readRule(file, ['rules', index], undefined, context))]
}

function readRule(file: YamlFile, path: Path, fileName: string | undefined, context: Context): ReadRule {
  const value = valueAt(file.value, path)
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return { path, problems: checkSchema(file, context.schema, value, { base: path }).problems }
  }
  const sql = [...path, 'sql']
  if (valueAt(file.value, sql) !== undefined) {
    const message = 'sql: rules in AWS IoT SQL are not available in this version; write from, where and select'
    return { path, problems: [file.problem(sql, message, file.keyPosition(sql))] }
  }
  const checked = checkSchema(file, context.schema, value, { base: path })
  const written = valueAt(value, ['name'])
  const name = typeof written === 'string' ? written : fileName
  const rule = checked.ok ? definitionOf(file, path, name ?? '', checked.value, context) : undefined
  const problems = [
    ...checked.problems,
    ...(written === undefined ? complainAboutDefaultName(file, path, fileName) : []),
    ...checkActions(file, path, context),
    ...examine(file, path, rule ?? expressionsOf(value, file.position(path)), context),
  ]
  return { path, problems, ...(name !== undefined && { name, ...(rule !== undefined && { rule }) }) }
}

/** Of a rule that its schema refuses, the expressions at least can be looked at. */
function expressionsOf(value: object, position: Position): RuleDefinition {
  const where = valueAt(value, ['where'])
  const select = valueAt(value, ['select'])
  return {
    name: '',
    position,
    from: [],
    ...(typeof where === 'string' && { where }),
    ...(typeof select === 'string' && { select }),
    to: [],
    onError: [],
    tests: [],
  }
}

function examine(file: YamlFile, path: Path, rule: RuleDefinition, { examineRule }: Context): Problem[] {
  return (examineRule?.(rule) ?? []).map((complaint) => {
    const at = file.pathOf(complaint.path, path)
    const position = complaint.offset === undefined ? undefined : file.positionInside(at, complaint.offset)
    return file.problem(at, `${dotted(at)}${at.length > 0 ? ': ' : ''}${complaint.message}`, position)
  })
}

function complainAboutDefaultName(file: YamlFile, path: Path, fileName: string | undefined): Problem[] {
  if (fileName === undefined) {
    const key = dotted([...path, 'name'])
    return [file.problem(path, `${key} is missing; only a rule that has a file to itself is named by it`)]
  }
  if (ruleName.safeParse(fileName).success) return []
  const remedy = 'use letters, digits, "_", "." and "-", or write name:'
  return [file.problem(path, `the file's name "${fileName}" cannot be the rule's: ${remedy}`)]
}

/** Whether the workers exist, and whether they take these options: told even where something else is wrong with the rule. */
function checkActions(file: YamlFile, path: Path, options: RuleFilesOptions): Problem[] {
  const problems: Problem[] = []
  for (const list of ['to', 'onError']) {
    const actions = valueAt(file.value, [...path, list])
    if (!Array.isArray(actions)) continue
    for (const index of actions.keys()) {
      const at = [...path, list, index]
      const worker = valueAt(file.value, [...at, 'worker'])
      if (typeof worker !== 'string' || worker === '') continue
      problems.push(...complainAboutWorker(file, [...at, 'worker'], worker, options))
      const definition = options.workers.get(worker)
      const forwarder = options.forwarders?.find(({ kind }) => kind === definition?.kind)
      if (definition === undefined || forwarder === undefined) continue
      const own = valueAt(file.value, [...at, 'with']) ?? {}
      problems.push(
        ...checkWith({ file, path: [...at, 'with'], own, defaults: definition.with, schema: forwarder.with }),
      )
    }
  }
  return problems
}

export function complainAboutWorker(
  file: YamlFile,
  path: Path,
  worker: string,
  { workerNames }: Pick<RuleFilesOptions, 'workerNames'>,
): Problem[] {
  if (workerNames.has(worker)) return []
  return [file.problem(path, `${dotted(path)}: there is no worker "${worker}"${suggestion(worker, workerNames)}`)]
}

function definitionOf(
  file: YamlFile,
  path: Path,
  name: string,
  written: WrittenRule,
  { workers }: RuleFilesOptions,
): RuleDefinition {
  const { where, select } = written
  const action = <Written extends WrittenRule['to'][number]>(entry: Written): Written => {
    const options = { ...templatesIn(workers.get(entry.worker)?.with ?? {}), ...entry.with }
    return Object.keys(options).length === 0 ? entry : { ...entry, with: options }
  }
  return {
    name,
    position: file.position([...path, 'name']),
    from: typeof written.from === 'string' ? [written.from] : written.from,
    ...(where !== undefined && { where }),
    ...(select !== undefined && { select }),
    to: written.to.map(action),
    onError: written.onError.map(action),
    tests: written.tests.map((test, index) => ({
      ...test,
      name: test.name ?? `${name} ${index + 1}`,
      position: file.position([...path, 'tests', index]),
    })),
  }
}
