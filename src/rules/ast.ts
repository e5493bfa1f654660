/** A node of jsonata's syntax tree (2.2), as far as we look at it. */
export interface Node {
  type: string
  value?: unknown
  /** Behind the token. */
  position?: number
  arguments?: Node[]
  procedure?: Node
  steps?: Node[]
  expressions?: Node[]
  expression?: Node
  stages?: Stage[]
  predicate?: Stage[]
  group?: { lhs: [Node, Node][] }
  terms?: { expression: Node }[]
  lhs?: Node | [Node, Node][]
  rhs?: Node
  condition?: Node
  then?: Node
  else?: Node
  body?: Node
  pattern?: Node
  update?: Node
  delete?: Node
  signature?: unknown
  thunk?: boolean
  /** Names that `@$x` and `#$x` bind. */
  focus?: string
  index?: string
}

export interface Stage {
  type: string
  value?: unknown
  expr?: Node
}

/** Every node directly below, in the order of the text as far as possible. Parameters of functions are left out. */
export function childrenOf(node: Node): Node[] {
  const found: (Node | undefined)[] = []
  if (Array.isArray(node.lhs)) found.push(...node.lhs.flat())
  else found.push(node.lhs)
  found.push(node.rhs, node.expression, node.condition, node.then, node.else, node.procedure)
  if (node.type !== 'lambda') found.push(...(node.arguments ?? []))
  found.push(node.body, ...(node.steps ?? []), ...(node.expressions ?? []))
  found.push(...[...(node.stages ?? []), ...(node.predicate ?? [])].map(({ expr }) => expr))
  found.push(...(node.group?.lhs.flat() ?? []), ...(node.terms ?? []).map(({ expression }) => expression))
  found.push(node.pattern, node.update, node.delete)
  return found.filter((child) => child !== undefined)
}

/** Calls `visit` for a node and everything below it. */
export function walk(node: Node, visit: (node: Node) => void): void {
  visit(node)
  for (const child of childrenOf(node)) walk(child, visit)
}

/** The names that an expression binds anywhere: assigned, parameters, `@$x` and `#$x`. */
export function boundNames(root: Node): Set<string> {
  const names = new Set<string>()
  walk(root, (node) => {
    if (node.type === 'bind' && !Array.isArray(node.lhs) && typeof node.lhs?.value === 'string')
      names.add(node.lhs.value)
    if (node.type === 'lambda') for (const { value } of node.arguments ?? []) names.add(String(value))
    if (node.focus !== undefined) names.add(node.focus)
    if (typeof node.index === 'string') names.add(node.index)
    for (const stage of node.stages ?? []) if (stage.type === 'index') names.add(String(stage.value))
  })
  return names
}

/** Where a variable is read; `offset` is that of its `$`. `$` and `$$` themselves are left out. */
export interface VariableUse {
  readonly name: string
  readonly offset: number
  readonly called: boolean
}

export function variableUses(root: Node): VariableUse[] {
  const called = new Set<Node>()
  const uses: VariableUse[] = []
  walk(root, (node) => {
    if ((node.type === 'function' || node.type === 'partial') && node.procedure !== undefined)
      called.add(node.procedure)
    if (node.type !== 'variable' || typeof node.value !== 'string' || node.value === '' || node.value === '$') return
    const end = node.position ?? 0
    uses.push({ name: node.value, offset: Math.max(0, end - node.value.length - 1), called: called.has(node) })
  })
  return uses
}
