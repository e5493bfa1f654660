import { type Problem, formatPosition } from '../core/problem.ts'
import { type Gathered, type OwnedPart, type Placed, isKind, nouns } from './identity-entries.ts'
import { suggestion } from '../core/nearest.ts'
import { type Path, dotted } from './path.ts'

/** What can be said only when all files are read: names that lead nowhere, circles of groups, one proof for two principals. */
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
  for (const placed of gathered.principals.values()) {
    const { thing, policies } = placed.value
    problems.push(...unknownNames(gathered, placed, 'policies', policies))
    if (thing !== undefined) problems.push(...unknownName(gathered, placed, ['thing'], 'things', thing))
  }
  const taken = new Map<string, OwnedPart>()
  for (const owned of gathered.parts) {
    for (const { kind, name, path } of owned.part.mentions?.(owned.value) ?? [])
      problems.push(...unknownName(gathered, owned, steps(owned, path), kind, name))
    for (const { text, path } of owned.unread ? [] : (owned.part.unique?.(owned.value) ?? [])) {
      const key = JSON.stringify([owned.kind, text])
      const other = taken.get(key)
      if (other === undefined) taken.set(key, owned)
      else problems.push(shared(owned, steps(owned, path), other))
    }
  }
  return problems
}

/** A dotted path of a part, as steps below it. */
function steps({ file, path }: OwnedPart, inside: string): Path {
  return inside === '' ? [] : file.pathOf(inside, path).slice(path.length)
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
  kind: string,
  name: string,
): Problem[] {
  const known = isKind(kind) ? gathered[kind] : (gathered.sections.get(kind) ?? new Map<string, unknown>())
  const faulty = isKind(kind) ? gathered.faulty[kind] : gathered.faultyInSections
  if (gathered.incomplete || known.has(name) || faulty.has(name)) return []
  const at = [...path, ...inside]
  const noun = isKind(kind) ? nouns[kind] : `entry of ${kind}:`
  return [file.problem(at, `${dotted(at)}: there is no ${noun} "${name}"${suggestion(name, known.keys())}`)]
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

/** Says who has it, and never what it is: it may be a proof. */
function shared({ name, file, path }: OwnedPart, inside: Path, other: OwnedPart): Problem {
  const at = [...path, ...inside]
  const place = formatPosition(other.file.position(other.path))
  const whose = name === other.name ? 'another of its own' : `"${other.name}"`
  return file.problem(at, `${dotted(at)}: "${name}" has here what ${whose} has (${place}); no two may have the same`)
}
