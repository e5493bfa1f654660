import { createHash, randomBytes } from 'node:crypto'
import type { Directory } from '../core/directory.ts'
import { SluiceError } from '../core/errors.ts'

export interface NewIdentity {
  readonly name: string
  /** The thing to attach it to; one that is not registered yet is registered by the same text. */
  readonly thing?: string
  readonly policies?: readonly string[]
  /** What stands in identity/ now; refuses a name that is taken and a policy that does not exist. */
  readonly directory?: Directory
}

export interface MadeIdentity {
  /** To be shown once and kept nowhere. */
  readonly token: string
  /** The content of a new file in identity/. It holds the token's hash, not the token. */
  readonly yaml: string
}

/** Marks a Sluice token, so that scanners for leaked secrets and people can tell what it is. */
export const tokenPrefix = 'slc_'

/** Names that are also safe as file names and in topics and ARNs; the characters of an AWS thing name, and the dot. */
const safeName = /^[A-Za-z0-9:_-][A-Za-z0-9:_.-]{0,127}$/

/**
 * Makes a principal with a new token of 256 random bits. Pure but for the randomness: the caller writes the file.
 * Throws SluiceError WRONG_USE for a name that is taken or not fit for a file name, or a policy that does not exist.
 */
export function createIdentity(wanted: NewIdentity): MadeIdentity {
  const { name, thing, policies = [], directory } = wanted
  checkName('principal', name)
  if (thing !== undefined) checkName('thing', thing)
  if (directory?.principals.has(name)) {
    throw new SluiceError('WRONG_USE', `there is a principal "${name}" already; choose another name or remove it first`)
  }
  const missing = directory === undefined ? [] : policies.filter((policy) => !directory.policies.has(policy))
  if (missing.length > 0)
    throw new SluiceError('WRONG_USE', `there is no policy "${missing.join('", "')}" in identity/`)

  const token = `${tokenPrefix}${randomBytes(32).toString('base64url')}`
  const sha256 = createHash('sha256').update(token, 'utf8').digest('hex')
  const registers = thing !== undefined && directory !== undefined && !directory.things.has(thing)
  return { token, yaml: textOf({ name, policies, sha256, ...(thing !== undefined && { thing }) }, registers) }
}

interface Entry {
  readonly name: string
  readonly thing?: string
  readonly policies: readonly string[]
  readonly sha256: string
}

/** JSON strings are YAML strings; without the quotes a name like `1e3` or `no` would be read as something else. */
function textOf(entry: Entry, registersThing: boolean): string {
  const lines = ['# Made by `sluice identity new`. The token was shown once and is in no file.']
  if (registersThing) lines.push('things:', `  - name: ${JSON.stringify(entry.thing)}`)
  lines.push('principals:', `  - name: ${JSON.stringify(entry.name)}`)
  if (entry.thing !== undefined) lines.push(`    thing: ${JSON.stringify(entry.thing)}`)
  if (entry.policies.length > 0) {
    lines.push(`    policies: [${entry.policies.map((policy) => JSON.stringify(policy)).join(', ')}]`)
  }
  lines.push(`    token: { sha256: ${JSON.stringify(entry.sha256)} }`)
  return `${lines.join('\n')}\n`
}

function checkName(what: string, name: string): void {
  if (safeName.test(name)) return
  const allowed = 'letters, digits and any of : _ - . (not first), at most 128'
  throw new SluiceError('WRONG_USE', `${JSON.stringify(name.slice(0, 140))} is not a ${what} name here: use ${allowed}`)
}
