import type { AnyForwarderDefinition } from '../core/forwarder.ts'
import type { Problem } from '../core/problem.ts'
import { type RuleDefinition, unmatchedRule } from '../core/rule.ts'
import type { WorkerDefinition } from '../core/worker.ts'
import { complainAboutWorker } from './rule-files.ts'
import type { SluiceFile } from './sluice-file.ts'
import type { SluiceSettings } from './sluice-schema.ts'
import { checkWith, templatesIn } from './with-options.ts'
import type { WorkerFiles } from './worker-files.ts'

/** Whether the workers of `unmatched` are there, and need nothing that only a rule's action could say. */
export function unmatchedProblems(
  { settings, file }: SluiceFile,
  { workers, names }: WorkerFiles,
  { forwarders }: { readonly forwarders?: readonly AnyForwarderDefinition[] | undefined },
): readonly Problem[] {
  if (settings === undefined || file === undefined) return []
  return settings.unmatched.flatMap((worker, index) => {
    const path = ['unmatched', index]
    const unknown = complainAboutWorker(file, path, worker, { workerNames: names })
    const definition = workers.get(worker)
    const forwarder = forwarders?.find(({ kind }) => kind === definition?.kind)
    if (definition === undefined || forwarder === undefined) return unknown
    const found = checkWith({ file, path, own: {}, defaults: definition.with, schema: forwarder.with })
    return found.map(({ message }) => file.problem(path, `${message}; the worker's own "with" can say it`))
  })
}

/** Where messages go that no rule takes, as a rule: its name is none that a file can give. Undefined where they go nowhere. */
export function unmatchedRuleOf(
  { unmatched }: Pick<SluiceSettings, 'unmatched'>,
  workers: ReadonlyMap<string, WorkerDefinition>,
): RuleDefinition | undefined {
  if (unmatched.length === 0) return undefined
  const to = unmatched.map((worker) => {
    const options = templatesIn(workers.get(worker)?.with ?? {})
    return Object.keys(options).length === 0 ? { worker } : { worker, with: options }
  })
  const position = { file: 'sluice.yaml', line: 1, column: 1 }
  return { name: unmatchedRule, position, from: [], to, onError: [], tests: [] }
}
