import { equal } from 'node:assert/strict'
import { test } from 'node:test'
import { complainUnknown } from '../../src/policy/unknown.ts'

test('an unknown name is named, with the known one that it probably means', () => {
  equal(
    complainUnknown('action', 'iot:Publsh', ['iot:Publish']),
    'there is no action "iot:Publsh"; did you mean iot:Publish?',
  )
  equal(complainUnknown('action', 'x', ['iot:Publish']), 'there is no action "x"')
})
