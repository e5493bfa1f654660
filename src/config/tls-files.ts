import type { Problem } from '../core/problem.ts'
import type { Place, Resolve } from '../core/reference.ts'
import { type Path, dotted } from './path.ts'
import type { YamlFile } from './yaml.ts'

/** The part of `tls:` of a client that may be PEM text, or the path of a file that holds it. */
export interface TlsFiles {
  readonly ca?: string
  readonly certificate?: string
  readonly key?: string
}

/** Reads the files that `tls` of a part names; afterwards `ca`, `certificate` and `key` are PEM text. */
export function readTlsFiles<Part extends { readonly tls?: TlsFiles }>(
  file: YamlFile,
  part: Part,
  at: Path,
  owner: Place['owner'],
  resolve: Resolve,
): { readonly part: Part; readonly problems: readonly Problem[] } {
  if (part.tls === undefined) return { part, problems: [] }
  const problems: Problem[] = []
  const tls: { -readonly [Key in keyof TlsFiles]: TlsFiles[Key] } = { ...part.tls }
  for (const key of ['ca', 'certificate', 'key'] as const) {
    const written = tls[key]
    if (written === undefined || written.includes('-----BEGIN ')) continue
    const path = [...at, 'tls', key]
    const resolved = resolve({ kind: 'file', path: written }, { file: file.path, owner })
    if ('open' in resolved) continue
    if ('problem' in resolved) problems.push(file.problem(path, `${dotted(path)}: ${resolved.problem}`))
    else if (!resolved.value.includes('-----BEGIN '))
      problems.push(file.problem(path, `${dotted(path)} must be PEM text or the path of a PEM file`))
    else tls[key] = resolved.value
  }
  return { part: { ...part, tls }, problems }
}
