import type { AuthMethod } from './method.ts'
import { token } from './token.ts'

/** Every auth method, in the order in which they are asked. */
export const authMethods: readonly AuthMethod[] = [
  token, // a secret that principal and Sluice share; Sluice keeps its hash
]
