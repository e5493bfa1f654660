import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'

/**
 * Names of the environment variables that files (or all files of folders) refer to. Reads text, not YAML: a name in a comment
 * counts too, which hands on a variable too many at worst, and never one that no file names.
 */
export function referencedVariables(paths: readonly string[]): readonly string[] {
  const names = new Set<string>()
  for (const file of paths.flatMap(filesOf)) {
    for (const match of readFileSync(file, 'utf8').matchAll(/\$\{env:(?<name>[A-Za-z_][A-Za-z0-9_]*)/g))
      names.add(match.groups?.['name'] ?? '')
  }
  return [...names]
}

function filesOf(path: string): readonly string[] {
  if (!existsSync(path)) return []
  if (statSync(path).isFile()) return [path]
  return readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
}
