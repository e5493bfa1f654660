import { equal } from 'node:assert/strict'
import { test } from 'node:test'
import { resourceArn, thingArn } from '../../src/policy/arn.ts'
import { resourceStart } from '../../src/policy/arn-pattern.ts'

test('each action is asked about its own kind of resource', () => {
  equal(resourceArn('iot:Connect', 'c'), 'arn:aws:iot:local:000000000000:client/c')
  equal(resourceArn('iot:Subscribe', '$share/g/a/#'), 'arn:aws:iot:local:000000000000:topicfilter/$share/g/a/#')
  for (const action of ['iot:Publish', 'iot:RetainPublish', 'iot:Receive'] as const) {
    equal(resourceArn(action, 'a/b', { region: 'eu', account: '1' }), 'arn:aws:iot:eu:1:topic/a/b')
  }
  equal(thingArn('t'), 'arn:aws:iot:local:000000000000:thing/t')
})

test('a resource begins after the fifth colon', () => {
  equal(resourceStart('arn:aws:iot:r:1:topic/a:b'), 'arn:aws:iot:r:1:'.length)
  for (const text of ['*', '', 'arn:aws:iot:r:1', 'topic:a:b:c:d:e:f']) equal(resourceStart(text), -1, text)
})
