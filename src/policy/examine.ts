import type { Action } from './actions.ts'
import { compileDocument } from './document.ts'
import type { Complaint } from './report.ts'

/**
 * Everything that is wrong in a policy document, with the dotted path of the field: what makes it malformed (it would deny
 * everything), and what is clear but can't be meant (an action, variable or condition key that doesn't exist). A document
 * without complaints is never malformed to evaluatePolicies, because both read it with the same code.
 */
export function examinePolicyDocument(value: unknown): readonly Complaint[] {
  const { report } = compileDocument(value)
  return [...report.malformations, ...report.doubts]
}

/** Whether some statement allows an action on something; what conditions and other statements say is not looked at. */
export function mayAllow(document: unknown, action: Action): boolean {
  const asked = action.toLowerCase()
  return compileDocument(document).statements.some((one) => one?.effect === 'Allow' && one.covers(asked))
}

/**
 * What is good here and isn't at AWS, or means something else there: a document that is longer than AWS takes, a variable that no list
 * of AWS's has, `$(*)` taken for an escape, a resource of a kind that none of its actions asks about. Nothing of it is an error.
 */
export function notesOnPolicyDocument(value: unknown): readonly Complaint[] {
  return compileDocument(value).report.notes
}
