import { type Node, walk } from './ast.ts'
import { ExpressionError } from './expression-error.ts'

/**
 * Keys by which jsonata 2.2 marks values of its own. In an object that a device made they would pass for functions, and
 * `tupleStream` would make the object's fields variables of the rule: `{"tupleStream": true, "limit": 1000}` overrides `$limit`.
 */
export const jsonataMarks = ['_jsonata_lambda', '_jsonata_function', 'tupleStream', 'outerWrapper']

/** No expression can spell it, so none can shadow it. */
export const keyName = '\0key'

/** Every key of an object that an expression works out, `items{ name: value }`: a device may choose it. */
export function workedOutKeys(root: Node): Node[] {
  const keys: Node[] = []
  walk(root, (node) => {
    const pairs = [...(Array.isArray(node.lhs) ? node.lhs : []), ...(node.group?.lhs ?? [])]
    keys.push(...pairs.map(([key]) => key).filter(({ type }) => type !== 'string'))
  })
  return keys
}

/** Refuses a key that is a mark; gives any other value back. */
export function refuseMark(key: unknown): unknown {
  if (typeof key !== 'string' || !jsonataMarks.includes(key)) return key
  const message = `an object cannot have a field "${key}", a name that jsonata keeps for itself`
  throw new ExpressionError('EXPRESSION_FAILED', message, { reason: 'D1013' })
}
