import { deepEqual, equal, ok } from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { compilePolicies } from '../../src/policy/compile.ts'
import type { PolicyContext, PolicyRequest } from '../../src/policy/context.ts'
import { evaluatePolicies } from '../../src/policy/evaluate.ts'
import { examinePolicyDocument } from '../../src/policy/examine.ts'
import { oracleDecision } from '../support/policy-oracle.ts'
import { context, document, request, statement } from '../support/policy-arbitraries.ts'
import { anyStep, walk } from '../support/policy-walk.ts'

/** Requests for each set of documents; generating documents costs more than asking them. */
const batch = 100
const batches = 2_000

test('decides 200,000 random and mutated requests as the obvious reading of the language does', () => {
  const seen = { allow: 0, 'explicit deny': 0, deny: 0, closed: 0 }
  const steps = fc.array(anyStep, { minLength: batch, maxLength: batch })
  fc.assert(
    fc.property(fc.array(document, { minLength: 1, maxLength: 3 }), context, steps, (documents, context, steps) => {
      const compiled = compilePolicies(documents)
      deepEqual(compiled.malformed, [])
      walk(documents, context, steps, (request, context, afterAllow) => {
        const expected = oracleDecision(documents, request, context)
        const got = compiled.decide(request, context)
        // deepEqual is too slow for so many, and its difference of large contexts for every step of shrinking.
        if (!isSame(got, expected)) throw new Error(JSON.stringify({ got, expected, request, context, documents }))
        const kind = expected.explicit ? 'explicit deny' : expected.decision
        seen[kind] += 1
        if (afterAllow && kind !== 'allow') seen.closed += 1
        return got.decision === 'allow'
      })
    }),
    { numRuns: batches },
  )
  equal(seen.allow + seen['explicit deny'] + seen.deny, batch * batches)
  // The property is worth something only where all of them happen: `closed` counts allowed requests that one change closed.
  for (const [kind, times] of Object.entries(seen)) ok(times > 5_000, `${kind} came up ${times} times`)
})

type Decided = ReturnType<typeof oracleDecision>

function isSame(left: Decided, right: Decided): boolean {
  return (
    left.decision === right.decision &&
    left.explicit === right.explicit &&
    left.statement?.document === right.statement?.document &&
    left.statement?.statement === right.statement?.statement
  )
}

test('without usesTime, the time changes no decision; explain decides as decide does', () => {
  fc.assert(
    fc.property(
      fc.array(document, { maxLength: 3 }),
      request,
      context,
      fc.nat(),
      (documents, request, context, now) => {
        const compiled = compilePolicies(documents)
        const before = compiled.decide(request, context)
        if (!compiled.usesTime) {
          const after = compiled.decide(request, { ...context, currentTime: now * 1000 })
          // The role of a Cognito identity has documents of its own.
          if (context.principal === undefined) deepEqual(after, before)
        }
        const { missingContextValues, ...explained } = compiled.explain(request, context)
        deepEqual(explained, before)
        deepEqual(missingContextValues, [...new Set(missingContextValues)].toSorted())
      },
    ),
    { numRuns: 2_000 },
  )
})

test('an Allow decides nothing else than what it is asked; a Deny added to documents never opens anything', () =>
  fc.assert(
    fc.property(
      fc.array(document, { maxLength: 2 }),
      statement,
      request,
      context,
      (documents, added, request, context) => {
        const denies = { Version: '2012-10-17', Statement: [{ ...added, Effect: 'Deny' }] }
        const before = evaluatePolicies(documents, request, context)
        const after = evaluatePolicies([...documents, denies], request, context)
        if (before.decision === 'deny') deepEqual(after.decision, 'deny')
      },
    ),
    { numRuns: 1_000 },
  ))

const hostile = fc.anything({
  withNullPrototype: true,
  withBigInt: true,
  withDate: true,
  withMap: true,
  withSet: true,
  withTypedArray: true,
})
const fieldNames = [
  'Version',
  'Statement',
  'Effect',
  'Action',
  'Resource',
  'Condition',
  '__proto__',
  'constructor',
  'StringEquals',
]
const almostDocument = fc.letrec<{ node: unknown }>((tie) => ({
  node: fc.oneof(
    { maxDepth: 5, depthSize: 'medium' },
    hostile,
    fc.constantFrom('2012-10-17', 'Allow', 'Deny', 'iot:*', '*', '${', '${iot:ClientId}', 'arn:aws:iot:*'),
    fc.array(tie('node'), { maxLength: 3 }),
    fc.dictionary(fc.constantFrom(...fieldNames), tie('node'), { maxKeys: 5 }),
  ),
})).node
const hostileContext = fc.oneof(
  hostile,
  fc.record(
    Object.fromEntries(
      [
        'protocol',
        'principal',
        'clientId',
        'thingName',
        'thingAttributes',
        'certificate',
        'connectAttributes',
        'rolePolicies',
        'currentTime',
      ].map((field) => [field, hostile]),
    ),
    { requiredKeys: [] },
  ),
)

test('no value throws, and no malformed document lets anything through', () =>
  fc.assert(
    fc.property(
      almostDocument,
      fc.oneof(request, hostile),
      fc.oneof(context, hostileContext),
      (document, request, context) => {
        const everything = {
          Version: '2012-10-17',
          Statement: { Effect: 'Allow', Action: '*', Resource: '*' },
        }
        const complaints = examinePolicyDocument(document)
        for (const { path, message } of complaints) ok(typeof path === 'string' && message !== '')
        const { decision } = evaluatePolicies(
          [everything, document],
          request as PolicyRequest,
          context as PolicyContext,
        )
        ok(decision === 'allow' || decision === 'deny')
        evaluatePolicies(document as readonly unknown[], request as PolicyRequest, context as PolicyContext)
        // Where a role decides in their place, these documents aren't asked.
        const own = typeof (context as PolicyContext | null)?.principal !== 'object'
        if (own && complaints.some(({ message }) => message.includes('missing'))) deepEqual(decision, 'deny')
      },
    ),
    { numRuns: 4_000 },
  ))
