import type { BridgeNote } from '../config/notes.ts'
import type { BridgeSettings } from '../config/sluice-schema.ts'
import type { Directory, Thing } from '../core/directory.ts'
import { matchesPattern } from '../identity/acts-for.ts'
import { mayAllow } from '../policy/examine.ts'

/**
 * Why nothing, or hardly anything, that comes over a bridge can be let in, as far as the files tell: its things are not known, or
 * nothing allows them to publish. Things that register themselves stand in no file, so that these are notes.
 */
export function notesOnBridge(bridge: BridgeSettings, directory: Directory): readonly BridgeNote[] {
  const notes: BridgeNote[] = []
  const note = (key: string, message: string): void => void notes.push({ key, message })
  const { name, thing, actsFor, trust, unknownThings, policies } = bridge
  const allows = (names: readonly string[]): boolean =>
    names.some((own) => mayAllow(directory.policies.get(own)?.document, 'iot:Publish'))

  if (policies !== undefined && !allows(policies))
    note('policies', `none of its policies allows iot:Publish, so every message of the bridge "${name}" is refused`)
  if (thing === undefined) return notes
  if (actsFor.length === 0) {
    note(
      'thing',
      `the bridge "${name}" may speak for no thing, so every message is refused; write "actsFor: ['*']" or patterns of names`,
    )
    return notes
  }
  const own = [...directory.things.values()].filter((one) =>
    actsFor.some((pattern) => matchesPattern(pattern, one.name)),
  )
  if (own.length === 0) {
    if (unknownThings === 'refuse')
      note(
        'thing',
        `no thing in identity/ that the bridge "${name}" may speak for, and unknown things are refused: so is every message. ` +
          'Declare the things there, or write "unknownThings: allow" (docs/bridge.md, "Things and policies")',
      )
    return notes
  }
  if (trust === 'policies' && !own.some((one) => allows(policiesOf(one, directory)))) {
    const [first] = own
    note(
      'thing',
      `no policy of a thing that the bridge "${name}" speaks for, or of its groups, allows iot:Publish (as of "${first?.name ?? ''}"): every message of theirs is refused. ` +
        'Policies of a principal don’t count here: attach them to the thing, or write "trust: topics" (docs/bridge.md, "Things and policies")',
    )
  }
  return notes
}

function policiesOf({ policies, groups }: Thing, directory: Directory): readonly string[] {
  const met = new Set<string>()
  const found = [...policies]
  for (const start of groups) {
    let group = directory.groups.get(start)
    while (group !== undefined && !met.has(group.name)) {
      met.add(group.name)
      found.push(...group.policies)
      group = group.parent === undefined ? undefined : directory.groups.get(group.parent)
    }
  }
  return found
}
