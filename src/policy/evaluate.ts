import { compilePolicies } from './compile.ts'
import type { PolicyContext, PolicyDecision, PolicyRequest } from './context.ts'

/**
 * Decides a request by AWS IoT policy documents that are in force together, as AWS IoT does: a Deny that applies beats every
 * Allow, and without either the answer is deny. Pure and synchronous; never throws, whatever the values are.
 *
 * It fails closed:
 * - A *malformed* document (an unknown field or operator, a value of the wrong type, a text that is no ARN, a version other
 *   than 2012-10-17) may hold a Deny that can't be read, so all documents together then deny everything, explicitly.
 * - A variable without a value could be anything: an Allow that needs it doesn't apply, a Deny that could apply does. The same
 *   holds for a condition's key that doesn't exist, and for a value that can't be read as the operator wants it.
 * - A request without an action or with a resource that is no ARN is denied.
 *
 * Documents are compiled once and remembered by identity: don't change one after its first use. To decide many requests by the same
 * documents, use compilePolicies.
 */
export function evaluatePolicies(
  documents: readonly unknown[],
  request: PolicyRequest,
  context: PolicyContext,
): PolicyDecision {
  return compilePolicies(documents).decide(request, context)
}
