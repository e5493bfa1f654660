import { equal } from 'node:assert/strict'
import { test } from 'node:test'
import { complainUnknown, nearestOf } from '../../src/policy/nearest.ts'

test('the nearest known name is suggested, and none that is far', () => {
  equal(nearestOf('effect', ['Effect', 'Action']), 'Effect')
  equal(nearestOf('Resorce', ['Resource', 'NotResource']), 'Resource')
  equal(nearestOf('Principal', ['Effect', 'Action']), undefined)
  equal(nearestOf('x'.repeat(5_000), ['x']), undefined)
  equal(
    complainUnknown('action', 'iot:Publsh', ['iot:Publish']),
    'there is no action "iot:Publsh"; did you mean iot:Publish?',
  )
  equal(complainUnknown('action', 'x', ['iot:Publish']), 'there is no action "x"')
})
