import { deepEqual, equal } from 'node:assert/strict'
import { test } from 'node:test'
import { compilePolicies } from '../../src/policy/compile.ts'
import * as library from '../../src/index.ts'

function allow(Resource: string | readonly string[], Action = 'iot:Publish'): unknown {
  return { Version: '2012-10-17', Statement: { Effect: 'Allow', Action, Resource } }
}

test('answers stay right when regions, accounts and actions change from one question to the next', () => {
  const policies = compilePolicies([
    allow(['arn:aws:iot:eu:1:topic/a', 'arn:aws:iot:us:*:topic/b']),
    allow('*', 'iot:Connect'),
  ])
  const ask = (resource: string, action = 'iot:Publish') => policies.decide({ action, resource }, {}).decision
  for (let round = 0; round < 3; round += 1) {
    equal(ask('arn:aws:iot:eu:1:topic/a'), 'allow')
    equal(ask('arn:aws:iot:eu:12:topic/a'), 'deny')
    equal(ask('arn:aws:iot:us:1:topic/a'), 'deny')
    equal(ask('arn:aws:iot:us:1:topic/b'), 'allow')
    equal(ask('arn:aws:iot:eu:1:client/c', 'iot:Connect'), 'allow')
    equal(ask('*', 'iot:Connect'), 'allow')
    equal(ask('*'), 'deny')
    equal(ask('arn:aws:iot:eu:1:topic/a', 'iot:Receive'), 'deny')
    equal(ask('arn:aws:iot:eu:1:topic/a', 'IOT:PUBLISH'), 'allow')
  }
})

test('ever new actions are answered and not kept', () => {
  const policies = compilePolicies([allow('*', 'iot:x*')])
  for (let index = 0; index < 1_000; index += 1) {
    const resource = 'arn:aws:iot:eu:1:topic/a'
    equal(policies.decide({ action: `iot:x${index}`, resource }, {}).decision, 'allow')
    equal(policies.decide({ action: `iot:y${index}`, resource }, {}).decision, 'deny')
  }
})

test('says which documents are malformed, and where', () => {
  const { malformed } = compilePolicies([allow('*'), { Version: '2012-10-17', Statement: [{ Effect: 'Allow' }] }, 7])
  deepEqual(
    malformed.map(({ document, path }) => `${document} ${path}`),
    ['1 Statement.0', '1 Statement.0', '2 '],
  )
  deepEqual(compilePolicies([allow('*')]).malformed, [])
})

test('documents that are no list deny', () => {
  for (const documents of [undefined, null, {}, 'x', new Map()]) {
    const policies = compilePolicies(documents as never)
    deepEqual(policies.decide({ action: 'iot:Publish', resource: '*' }, {}), { decision: 'deny', explicit: true })
    equal(policies.malformed.length, 1)
  }
})

test('the library exports the evaluator', () => {
  const request = { action: 'iot:Publish', resource: 'arn:aws:iot:r:1:topic/a' }
  deepEqual(library.evaluatePolicies([allow('*')], request, {}), {
    decision: 'allow',
    explicit: false,
    statement: { document: 0, statement: 0 },
  })
})
