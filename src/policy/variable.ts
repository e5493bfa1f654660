import type { PolicyContext } from './context.ts'

/** A name that policies may use: `${name}` in a Resource or a condition's value, or as the key of a condition. */
export interface Variable {
  readonly name: string
  /** What `${name}` becomes, taken literally; undefined where it has no value, or not just one. */
  text(context: PolicyContext): string | undefined
  /** What a condition compares: empty where the key is missing, undefined for a value that may not be used. */
  values(context: PolicyContext): readonly (string | undefined)[]
}
