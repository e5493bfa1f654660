import { dirname, resolve as resolvePath } from 'node:path'
import type { z } from 'zod'
import { fileTextMark } from '../core/file-text.ts'
import type { Problem } from '../core/problem.ts'
import type { Resolve } from '../core/reference.ts'
import { findMark, mapTexts } from './marked-texts.ts'
import { type Path, dotted } from './path.ts'
import type { YamlFile } from './yaml.ts'

export interface FileTexts {
  readonly value: unknown
  readonly problems: readonly Problem[]
  /** Absolute paths of the files that were named. */
  readonly files: readonly string[]
  /** Some are named and were not read: nobody asked for their texts. */
  readonly unread: boolean
}

/**
 * The validated value with the text of its file in the place of every `fileText()` that is a path. Without `resolve` paths stay, and
 * nothing is said about them.
 */
export function withFileTexts(
  file: YamlFile,
  schema: z.core.$ZodType,
  value: unknown,
  base: Path,
  resolve: Resolve | undefined,
): FileTexts {
  const problems: Problem[] = []
  const files: string[] = []
  let unread = false
  const result = mapTexts(schema, value, (text, own, inside) => {
    const looksLike = findMark(own, text, fileTextMark)
    if (looksLike === undefined || looksLike.test(text)) return text
    const path = [...base, ...inside]
    files.push(resolvePath(dirname(file.path), text))
    const resolved = resolve?.({ kind: 'file', path: text }, { file: file.path, owner: { kind: 'ingest' } })
    if (resolved === undefined || 'open' in resolved) {
      unread = true
      return text
    }
    if ('problem' in resolved) problems.push(file.problem(path, `${dotted(path)}: ${resolved.problem}`))
    else if (looksLike.test(resolved.value)) return resolved.value
    else problems.push(file.problem(path, `${dotted(path)}: the file ${text} does not hold what is wanted here`))
    return text
  })
  return { value: result, problems, files, unread }
}
