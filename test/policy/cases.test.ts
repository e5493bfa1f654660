import { deepEqual, equal } from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { parse } from 'yaml'
import { compilePolicies } from '../../src/policy/compile.ts'
import type { PolicyContext, PolicyDecision, PolicyRequest } from '../../src/policy/context.ts'
import { evaluatePolicies } from '../../src/policy/evaluate.ts'

const base = { protocol: 'mqtt', region: 'r', accountId: '1', clientId: 'c' } as const
const Version = '2012-10-17'

function read(name: string): unknown {
  return parse(readFileSync(new URL(`../cases/policy/${name}`, import.meta.url), 'utf8'))
}

interface ConditionCases {
  readonly statement: object
  readonly request: PolicyRequest
  readonly cases: readonly ConditionCase[]
}

interface ConditionCase {
  readonly id: string
  readonly condition: unknown
  readonly when?: PolicyContext
  readonly allow: 'allow' | 'deny'
  readonly deny: 'allow' | 'deny'
}

test('conditions', async (t) => {
  const { statement, request, cases } = read('conditions.yaml') as ConditionCases
  for (const { id, condition, when, allow, deny } of cases) {
    await t.test(id, () => {
      const context = { ...base, ...when }
      const conditional = (Effect: string) => ({ Version, Statement: { ...statement, Effect, Condition: condition } })
      const everything = { Version, Statement: { Effect: 'Allow', Action: '*', Resource: '*' } }
      equal(evaluatePolicies([conditional('Allow')], request, context).decision, allow)
      const denied = evaluatePolicies([everything, conditional('Deny')], request, context)
      equal(denied.decision, deny)
      // Not because the document is malformed: then the Allow alone would be an explicit deny.
      equal(evaluatePolicies([conditional('Allow')], request, context).explicit, false)
    })
  }
})

interface DecisionCases {
  readonly cases: readonly DecisionCase[]
}

interface DecisionCase {
  readonly id: string
  readonly policies: readonly unknown[]
  readonly context?: PolicyContext
  readonly request: PolicyRequest
  readonly expect: PolicyDecision['decision']
  readonly explicit?: boolean
  readonly statement?: PolicyDecision['statement']
}

test('decisions', async (t) => {
  for (const { id, policies, context, request, expect, explicit, statement } of (
    read('decisions.yaml') as DecisionCases
  ).cases) {
    await t.test(id, () => {
      const rolePolicies = context?.rolePolicies?.map(versioned)
      const result = evaluatePolicies(policies.map(versioned), request, {
        ...base,
        ...context,
        ...(rolePolicies !== undefined && { rolePolicies }),
      })
      equal(result.decision, expect)
      if (explicit !== undefined) equal(result.explicit, explicit)
      if (statement !== undefined) deepEqual(result.statement, statement)
    })
  }
})

interface LanguageCases {
  readonly cases: readonly LanguageCase[]
}

interface LanguageCase {
  readonly id: string
  readonly statements: readonly unknown[]
  readonly role?: readonly unknown[]
  readonly context?: PolicyContext
  readonly request?: Partial<PolicyRequest>
  readonly malformed?: true
  readonly ask: readonly (readonly [answer: string, action: string, resource: string, changed?: PolicyContext])[]
}

test('the language', async (t) => {
  for (const { id, statements, role, ask, malformed, ...rest } of (read('language.yaml') as LanguageCases).cases) {
    await t.test(id, () => {
      const policies = compilePolicies([{ Version, Statement: statements }])
      equal(policies.malformed.length > 0, malformed === true, JSON.stringify(policies.malformed))
      const rolePolicies = role && { rolePolicies: [{ Version, Statement: role }] }
      for (const [answer, action, name, changed] of ask) {
        const resource = name.startsWith('=') ? name.slice(1) : `arn:aws:iot:r:1:${name}`
        const context = { ...base, ...rest.context, ...rolePolicies, ...changed }
        const { decision, explicit } = policies.decide({ ...rest.request, action, resource }, context)
        equal(explicit ? `${decision}!` : decision, answer, `${action} ${name} ${JSON.stringify(changed)}`)
      }
    })
  }
})

function versioned(document: unknown): unknown {
  return typeof document === 'object' ? { Version, ...document } : document
}
