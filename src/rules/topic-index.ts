/**
 * Topic filters with values, arranged by level, so that a topic name is matched in time that depends on its levels and not
 * on the number of filters. `+` matches one level [MQTT-4.7.1-3], `#` the rest and the parent [MQTT-4.7.1-2]; a topic that
 * starts with `$` is matched by no filter that starts with a wildcard [MQTT-4.7.2-1]. Filters are taken as valid.
 */
export class TopicIndex<Value> {
  readonly #root = new Level<Value>()

  add(filter: string, value: Value): void {
    let level = this.#root
    const names = filter.split('/')
    for (const name of names) {
      if (name === '#') {
        level.rest.push(value)
        return
      }
      level = name === '+' ? (level.any ??= new Level()) : level.named(name)
    }
    level.here.push(value)
  }

  /** The values of every filter that matches, a value once for each of its filters, in no order. */
  match(topic: string): Value[] {
    const found: Value[] = []
    collect(this.#root, topic.split('/'), 0, !topic.startsWith('$'), found)
    return found
  }
}

/** INVARIANT: names of levels come from users and devices, so they are keys of a Map and never of an object. */
class Level<Value> {
  readonly children = new Map<string, Level<Value>>()
  any: Level<Value> | undefined
  /** Values of filters that end here. */
  readonly here: Value[] = []
  /** Values of filters that end in `#` below here. */
  readonly rest: Value[] = []

  named(name: string): Level<Value> {
    const known = this.children.get(name)
    if (known !== undefined) return known
    const created = new Level<Value>()
    this.children.set(name, created)
    return created
  }
}

/** A topic has few levels (8 by default), so this visits at most two to the power of that, and in practice a handful. */
function collect<Value>(
  level: Level<Value>,
  names: readonly string[],
  index: number,
  wildcards: boolean,
  found: Value[],
): void {
  if (wildcards && level.rest.length > 0) found.push(...level.rest)
  const name = names[index]
  if (name === undefined) {
    if (level.here.length > 0) found.push(...level.here)
    return
  }
  const child = level.children.get(name)
  if (child !== undefined) collect(child, names, index + 1, true, found)
  if (wildcards && level.any !== undefined) collect(level.any, names, index + 1, true, found)
}
