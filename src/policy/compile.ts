import { scopedActions } from './actions.ts'
import { thingArn } from './arn.ts'
import type { PolicyContext, PolicyDecision, PolicyRequest } from './context.ts'
import type { Complaint } from './report.ts'
import { implicitDeny, StatementSet } from './statement-set.ts'
import { fieldOf, isFields, textOf } from './values.ts'

/** Policy documents, ready to be asked any number of times. */
export interface CompiledPolicies {
  /** Why these documents deny everything, where they do; `document` counts from 0. */
  readonly malformed: readonly (Complaint & { readonly document: number })[]
  /** Whether a resource or condition of these documents looks at the time: if not, a decision holds while its context does. */
  readonly usesTime: boolean
  /** See evaluatePolicies. */
  decide(request: PolicyRequest, context: PolicyContext): PolicyDecision
  /** The same decision, and what was missing; for people, because it is slow. */
  explain(request: PolicyRequest, context: PolicyContext): PolicyExplanation
}

export interface PolicyExplanation extends PolicyDecision {
  /**
   * Names of variables and condition keys that statements about this action and resource need and that have no value, sorted (AWS,
   * "TestAuthorization").
   */
  readonly missingContextValues: readonly string[]
}

/**
 * Compiles policy documents that are in force together (parsed JSON or YAML); they must not be changed afterwards. Never
 * throws: a malformed document is named in `malformed` and makes every decision a deny.
 */
export function compilePolicies(documents: readonly unknown[]): CompiledPolicies {
  const own = new StatementSet(documents, 0)
  const roleStartsAt = Array.isArray(documents) ? documents.length : 0
  const roles = new WeakMap<readonly unknown[], StatementSet>()
  const noRole = new StatementSet([], roleStartsAt)

  /** The role's documents, remembered by their array: like all documents it must not be changed. */
  function roleOf({ rolePolicies }: PolicyContext): StatementSet {
    if (rolePolicies === undefined || rolePolicies === null) return noRole
    if (!Array.isArray(rolePolicies)) return new StatementSet(rolePolicies, roleStartsAt)
    let role = roles.get(rolePolicies)
    if (role === undefined) {
      role = new StatementSet(rolePolicies, roleStartsAt)
      roles.set(rolePolicies, role)
    }
    return role
  }

  function decideOne(action: string, resource: string, context: PolicyContext): PolicyDecision {
    const type = identityOf(context)
    if (type === undefined) return own.decide(action, resource, context)
    const byRole = roleOf(context).decide(action, resource, context)
    if (type === 'cognito-unauthenticated' || !scopedActions.has(action.toLowerCase())) return byRole
    const byOwn = own.decide(action, resource, context)
    if (byOwn.decision === 'allow') return byRole.decision === 'allow' ? byOwn : byRole
    return byOwn.explicit || byRole.decision === 'allow' ? byOwn : byRole
  }

  function decide(request: PolicyRequest, context: PolicyContext): PolicyDecision {
    const known = isFields(context) ? context : {}
    const asked = readRequest(request, known)
    if (asked === undefined) return implicitDeny
    const decision = decideOne(asked.action, asked.resource, known)
    if (decision.decision === 'deny' || !retains(request, asked.action)) return decision
    const retaining = decideOne('iot:RetainPublish', asked.resource, known)
    return retaining.decision === 'deny' ? retaining : decision
  }

  return {
    malformed: own.malformed,
    usesTime: own.usesTime,
    decide,
    explain(request, context) {
      const known = isFields(context) ? context : {}
      const asked = readRequest(request, known)
      const names = new Set<string>()
      if (asked !== undefined) {
        const sets = identityOf(known) === undefined ? [own] : [own, roleOf(known)]
        const actions = retains(request, asked.action) ? [asked.action, 'iot:RetainPublish'] : [asked.action]
        for (const set of sets) {
          for (const action of actions) {
            for (const name of set.missing(action, asked.resource, known)) names.add(name)
          }
        }
      }
      return { ...decide(request, context), missingContextValues: [...names].toSorted() }
    },
  }
}

/** A Cognito identity, whose role decides in place of the other documents, or together with them (aws-security §6). */
function identityOf(context: PolicyContext): 'cognito-authenticated' | 'cognito-unauthenticated' | undefined {
  if (context.principal === undefined) return undefined
  const type = fieldOf(context.principal, 'type')
  return type === 'cognito-authenticated' || type === 'cognito-unauthenticated' ? type : undefined
}

interface Asked {
  readonly action: string
  readonly resource: string
}

function readRequest(request: PolicyRequest, context: PolicyContext): Asked | undefined {
  const action = fieldOf(request, 'action')
  const resource = fieldOf(request, 'resource')
  if (typeof action !== 'string' || typeof resource !== 'string') return undefined
  return { action, resource: resource === '*' ? (listedThing(action, request, context) ?? resource) : resource }
}

/**
 * The thing whose named shadows are to be listed. One page of AWS says that this action is asked about `*`, another that it is asked
 * about the thing (aws-security §17.7): asked about the thing, policies of both forms are right, and a Deny of the thing holds.
 */
function listedThing(action: string, request: PolicyRequest, context: PolicyContext): string | undefined {
  if (action.toLowerCase() !== 'iot:listnamedshadowsforthing') return undefined
  const [thing, region, account] = [request.thingName, context.region, context.accountId].map(textOf)
  if (thing === undefined || region === undefined || account === undefined) return undefined
  return thingArn(thing, { region, account })
}

function retains(request: PolicyRequest, action: string): boolean {
  return request.retain === true && action.toLowerCase() === 'iot:publish'
}
