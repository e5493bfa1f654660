import type { Directory } from '../core/directory.ts'
import { SluiceError } from '../core/errors.ts'
import { suggestion } from '../core/nearest.ts'
import { checkName } from './names.ts'

/** A principal that a certificate proves, to be written into identity/. */
export interface WantedPrincipal {
  readonly name: string
  readonly thing?: string
  readonly policies: readonly string[]
}

/** Throws SluiceError WRONG_USE for a principal that is there already, a name that isn't one, and a policy that doesn't exist. */
export function checkPrincipal({ name, thing, policies }: WantedPrincipal, directory: Directory): void {
  checkName('principal', name)
  if (thing !== undefined) checkName('thing', thing)
  if (directory.principals.has(name))
    throw new SluiceError('WRONG_USE', `there is a principal "${name}" already; choose another name or remove it first`)
  for (const policy of policies) {
    if (directory.policies.has(policy)) continue
    const hint = suggestion(policy, directory.policies.keys())
    throw new SluiceError('WRONG_USE', `there is no policy "${policy}" in identity/${hint}`)
  }
}

/**
 * The content of a new file in identity/, which registers the thing too where it isn't yet. JSON strings are YAML strings; without the
 * quotes a name like `1e3` or `no`, or a fingerprint of digits alone, would be read as something else.
 */
export function principalText(wanted: WantedPrincipal, fingerprint: string, directory: Directory): string {
  const { name, thing, policies } = wanted
  const lines = [
    '# Made by `sluice pki`. The fingerprint is the SHA-256 of the certificate; its key is in no file here.',
  ]
  if (thing !== undefined && !directory.things.has(thing)) lines.push('things:', `  - name: ${JSON.stringify(thing)}`)
  lines.push('principals:', `  - name: ${JSON.stringify(name)}`)
  if (thing !== undefined) lines.push(`    thing: ${JSON.stringify(thing)}`)
  if (policies.length > 0) lines.push(`    policies: [${policies.map((policy) => JSON.stringify(policy)).join(', ')}]`)
  lines.push(`    x509: { fingerprint: ${JSON.stringify(fingerprint)} }`)
  return `${lines.join('\n')}\n`
}
