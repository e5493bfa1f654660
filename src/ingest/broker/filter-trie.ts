interface Node<Value> {
  readonly children: Map<string, Node<Value>>
  readonly values: Map<string, Value>
}

/** Topic filters of sessions, by level: finds those that match a topic name without looking at all of them. */
export class FilterTrie<Value> {
  readonly #root: Node<Value> = newNode()

  /** `owner` has the filter; adding it again replaces its value. */
  set(filter: string, owner: string, value: Value): void {
    let node = this.#root
    for (const level of filter.split('/')) {
      let child = node.children.get(level)
      if (child === undefined) {
        child = newNode()
        node.children.set(level, child)
      }
      node = child
    }
    node.values.set(owner, value)
  }

  delete(filter: string, owner: string): void {
    const path: [Node<Value>, string][] = []
    let node: Node<Value> | undefined = this.#root
    for (const level of filter.split('/')) {
      path.push([node, level])
      node = node.children.get(level)
      if (node === undefined) return
    }
    node.values.delete(owner)
    for (const [parent, level] of path.reverse()) {
      const child = parent.children.get(level)
      if (child === undefined || child.children.size > 0 || child.values.size > 0) return
      parent.children.delete(level)
    }
  }

  /** Every owner and value whose filter matches (MQTT 3.1.1 §4.7); an owner with several such filters comes several times. */
  match(topic: string): [owner: string, value: Value][] {
    const found: [string, Value][] = []
    const levels = topic.split('/')
    const walk = (node: Node<Value>, depth: number): void => {
      // [MQTT-4.7.2-1]: no leading wildcard matches a `$` topic.
      const wild = depth > 0 || !topic.startsWith('$')
      if (wild) found.push(...(node.children.get('#')?.values ?? []))
      const level = levels[depth]
      if (level === undefined) return void found.push(...node.values)
      const exact = node.children.get(level)
      if (exact !== undefined) walk(exact, depth + 1)
      const plus = wild ? node.children.get('+') : undefined
      if (plus !== undefined) walk(plus, depth + 1)
    }
    walk(this.#root, 0)
    return found
  }
}

function newNode<Value>(): Node<Value> {
  return { children: new Map(), values: new Map() }
}
