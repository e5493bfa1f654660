import { deepEqual, equal } from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { unknown, yes } from '../../src/policy/certainty.ts'
import { compilePolicies } from '../../src/policy/compile.ts'
import { Report } from '../../src/policy/report.ts'
import { TailIndex } from '../../src/policy/tail-index.ts'
import { parseTemplate } from '../../src/policy/template.ts'

function tailsOf(patterns: readonly string[]) {
  return patterns.map((pattern, order) => ({
    template: parseTemplate(pattern, true, '', new Report()),
    candidate: { order, conditions: undefined, decision: { decision: 'allow', explicit: false } as const },
  }))
}

const pattern = fc.string({
  unit: fc.constantFrom('a', 'b', 'ab', '/', '😀', '*', '?', '${iot:ClientId}', '${iot:DomainName}', '${iot:Nonsense}'),
  maxLength: 6,
})
const text = fc.string({ unit: fc.constantFrom('a', 'b', '/', '😀', '\ud83d'), maxLength: 8 })
const context = fc.record(
  { protocol: fc.constant('mqtt' as const), clientId: text, domainName: text },
  { requiredKeys: ['protocol'] },
)

test('finds the same tail first as asking one after the other does', () => {
  fc.assert(
    fc.property(
      fc.array(pattern, { maxLength: 40 }),
      fc.array(text, { minLength: 5, maxLength: 5 }),
      context,
      (patterns, texts, context) => {
        const tails = tailsOf(patterns)
        const index = new TailIndex(tails)
        for (const text of texts) {
          for (const least of [unknown, yes]) {
            const expected = tails.find(({ template }) => template.match(`x${text}`, 1, context) >= least)
            const found = index.find({ text: `x${text}`, context, least }, 1, undefined)
            deepEqual(found?.order, expected?.candidate.order)
          }
        }
      },
    ),
    { numRuns: 5_000 },
  )
})

test('nothing that stands behind what has been found is found', () => {
  const [first, second, third] = tailsOf(['a', 'b', 'a*'])
  const index = new TailIndex([second, third].filter((tail) => tail !== undefined))
  const question = { text: 'b', context: {}, least: yes }
  equal(index.find(question, 0, undefined)?.order, 1)
  equal(index.find(question, 0, first?.candidate)?.order, 0)
})

test('no document exhausts the stack or the memory', () => {
  const resources = [
    'arn:aws:iot:*:*:topic/' + '${iot:ClientId}'.repeat(20_000),
    'arn:aws:iot:*:*:topic/' + '${iot:ClientId}a'.repeat(20_000),
    ...Array.from({ length: 3_000 }, (_, length) => 'arn:aws:iot:*:*:topic/' + 'a'.repeat(length)),
  ]
  const policies = compilePolicies([
    { Version: '2012-10-17', Statement: { Effect: 'Allow', Action: 'iot:Publish', Resource: resources } },
  ])
  const ask = (topic: string, clientId?: string) =>
    policies.decide(
      { action: 'iot:Publish', resource: `arn:aws:iot:r:1:topic/${topic}` },
      { protocol: 'mqtt', ...(clientId !== undefined && { clientId }) },
    ).decision
  equal(ask('b'.repeat(20_000), 'b'), 'allow')
  equal(ask('ba'.repeat(20_000), 'b'), 'allow')
  equal(ask('ba'.repeat(19_999), 'b'), 'deny')
  equal(ask('a'.repeat(2_999)), 'allow')
  equal(ask('a'.repeat(3_000)), 'deny')
})
