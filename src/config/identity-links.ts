import { type Problem, formatPosition } from '../core/problem.ts'
import { type Gathered, type Kind, type Placed, nouns } from './identity-entries.ts'
import { suggestion } from '../core/nearest.ts'
import { type Path, dotted } from './path.ts'

/** What can be said only when all files are read: names that lead nowhere, circles of groups, one token for two principals. */
export function crossProblems(gathered: Gathered): Problem[] {
  const problems: Problem[] = []
  for (const placed of gathered.things.values()) {
    problems.push(...unknownNames(gathered, placed, 'groups', placed.value.groups))
    problems.push(...unknownNames(gathered, placed, 'policies', placed.value.policies))
  }
  for (const placed of gathered.groups.values()) {
    const { parent, policies } = placed.value
    problems.push(...unknownNames(gathered, placed, 'policies', policies))
    if (parent !== undefined) problems.push(...unknownName(gathered, placed, ['parent'], 'groups', parent))
    problems.push(...circle(gathered, placed))
  }
  const tokens = new Map<string, Placed<{ readonly name: string }>>()
  for (const placed of gathered.principals.values()) {
    const { thing, policies, token } = placed.value
    problems.push(...unknownNames(gathered, placed, 'policies', policies))
    if (thing !== undefined) problems.push(...unknownName(gathered, placed, ['thing'], 'things', thing))
    if (token === undefined) continue
    const other = tokens.get(token.sha256)
    if (other === undefined) tokens.set(token.sha256, placed)
    else problems.push(sameToken(placed, other))
  }
  return problems
}

function unknownNames(
  gathered: Gathered,
  placed: Placed<unknown>,
  kind: 'groups' | 'policies',
  names: readonly string[],
): Problem[] {
  return names.flatMap((name, index) => unknownName(gathered, placed, [kind, index], kind, name))
}

function unknownName(
  gathered: Gathered,
  { file, path }: Placed<unknown>,
  inside: Path,
  kind: Kind,
  name: string,
): Problem[] {
  if (gathered.incomplete || gathered[kind].has(name) || gathered.faulty[kind].has(name)) return []
  const at = [...path, ...inside]
  return [
    file.problem(at, `${dotted(at)}: there is no ${nouns[kind]} "${name}"${suggestion(name, gathered[kind].keys())}`),
  ]
}

/** Told once, at the group whose name sorts first in the circle. */
function circle(
  { groups }: Gathered,
  { value, file, path }: Placed<{ readonly name: string; readonly parent?: string }>,
): Problem[] {
  const way = [value.name]
  for (let next = value.parent; next !== undefined; next = groups.get(next)?.value.parent) {
    if (next === value.name) {
      const smallest = way.every((name) => value.name <= name)
      const at = [...path, 'parent']
      return smallest
        ? [file.problem(at, `${dotted(at)}: the group is its own ancestor: ${[...way, next].join(' → ')}`)]
        : []
    }
    if (way.includes(next)) return [] // a circle further up; its own groups tell it
    way.push(next)
  }
  return []
}

function sameToken(
  { value, file, path }: Placed<{ readonly name: string }>,
  other: Placed<{ readonly name: string }>,
): Problem {
  const at = [...path, 'token']
  const place = formatPosition(other.file.position([...other.path, 'name']))
  return file.problem(
    at,
    `${dotted(at)}: "${value.name}" has the token of "${other.value.name}" (${place}); a token names one principal`,
  )
}
