import { scopedActions } from './actions.ts'
import type { PolicyContext, PolicyDecision, PolicyRequest } from './context.ts'
import type { Complaint } from './report.ts'
import { implicitDeny, StatementSet } from './statement-set.ts'
import { fieldOf, isFields } from './values.ts'

/** Policy documents, ready to be asked any number of times. */
export interface CompiledPolicies {
  /** Why these documents deny everything, where they do; `document` counts from 0. */
  readonly malformed: readonly (Complaint & { readonly document: number })[]
  /** See evaluatePolicies. */
  decide(request: PolicyRequest, context: PolicyContext): PolicyDecision
}

/**
 * Compiles policy documents that are in force together (parsed JSON or YAML); they must not be changed afterwards. Never
 * throws: a malformed document is named in `malformed` and makes every decision a deny.
 */
export function compilePolicies(documents: readonly unknown[]): CompiledPolicies {
  const own = new StatementSet(documents, 0)
  const roleStartsAt = Array.isArray(documents) ? documents.length : 0
  return {
    malformed: own.malformed,
    decide(request, context) {
      const action = fieldOf(request, 'action')
      const resource = fieldOf(request, 'resource')
      if (typeof action !== 'string' || typeof resource !== 'string') return implicitDeny
      const known = isFields(context) ? context : {}
      const decide = decideAs(known, own, roleStartsAt)
      const decision = decide(action, resource, known)
      if (request.retain !== true || decision.decision === 'deny' || action.toLowerCase() !== 'iot:publish')
        return decision
      const retaining = decide('iot:RetainPublish', resource, known)
      return retaining.decision === 'deny' ? retaining : decision
    },
  }
}

type Decide = (action: string, resource: string, context: PolicyContext) => PolicyDecision

/** Which documents count. A Cognito identity's role decides in their place, or together with them (aws-security §6). */
function decideAs(context: PolicyContext, own: StatementSet, roleStartsAt: number): Decide {
  const type = fieldOf(context.principal, 'type')
  if (type !== 'cognito-authenticated' && type !== 'cognito-unauthenticated') return own.decide.bind(own)
  const role = new StatementSet(context.rolePolicies ?? [], roleStartsAt)
  if (type === 'cognito-unauthenticated') return role.decide.bind(role)
  return (action, resource) => {
    const byRole = role.decide(action, resource, context)
    if (!scopedActions.has(action.toLowerCase())) return byRole
    const byOwn = own.decide(action, resource, context)
    if (byOwn.decision === 'allow') return byRole.decision === 'allow' ? byOwn : byRole
    return byOwn.explicit || byRole.decision === 'allow' ? byOwn : byRole
  }
}
