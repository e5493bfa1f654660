import { dirname } from 'node:path'
import type { AnyCredentialDefinition, AnyForwarderDefinition } from '../core/forwarder.ts'
import type { Problem } from '../core/problem.ts'
import type { WorkerDefinition } from '../core/worker.ts'
import { withAbsolutePaths } from './absolute-paths.ts'
import { suggestion } from '../core/nearest.ts'
import { checkSchema } from './schema-problems.ts'
import { type YamlFile, valueAt } from './yaml.ts'

interface CheckedCredential {
  readonly problems: readonly Problem[]
  readonly value?: NonNullable<WorkerDefinition['credential']>
}

/** Checks a worker's `credential:` against what its kind takes and what the type wants. */
export function checkCredential(
  file: YamlFile,
  written: unknown,
  forwarder: AnyForwarderDefinition,
  registry: readonly AnyCredentialDefinition[],
): CheckedCredential {
  const path = ['credential']
  const accepted = forwarder.credentials
  const refuse = (message: string, at: readonly string[] = path): CheckedCredential => ({
    problems: [file.problem(at, message)],
  })
  if (written === undefined) {
    if (forwarder.credentialRequired !== true) return { problems: [] }
    return refuse(`credential is missing; a worker of kind "${forwarder.kind}" needs one: ${accepted.join(', ')}`)
  }
  if (accepted.length === 0) return refuse(`a worker of kind "${forwarder.kind}" takes no credential`)
  const type = valueAt(written, ['type'])
  if (typeof type !== 'string') return { problems: [] } // the worker's own schema has said so
  if (!accepted.includes(type)) {
    const takes = `a worker of kind "${forwarder.kind}" takes ${accepted.join(', ')}`
    return refuse(`credential.type: "${type}" is not taken here; ${takes}${suggestion(type, accepted)}`, [
      'credential',
      'type',
    ])
  }
  const definition = registry.find((candidate) => candidate.type === type)
  if (definition === undefined)
    return refuse(`credential.type: there is no credential type "${type}"`, ['credential', 'type'])

  const settings = Object.fromEntries(Object.entries(written as object).filter(([key]) => key !== 'type'))
  const checked = checkSchema(file, definition.settings, settings, { base: path, alsoKnown: ['type'] })
  if (!checked.ok) return { problems: checked.problems }
  const value = withAbsolutePaths(definition.settings, checked.value, dirname(file.path))
  return { problems: [], value: { type, settings: value } }
}
