import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Outage } from '../../src/queue/outage.ts'
import { createPacedWarn } from '../../src/queue/paced-warn.ts'
import { keepLines } from '../support/logs.ts'

test('an outage is a few lines, however many attempts fail', () => {
  const log = keepLines()
  let now = 0
  const outage = new Outage(log, 'it', () => now)
  outage.up()
  for (; now <= 130_000; now += 100) outage.down(new Error('refused'))
  outage.up()
  outage.up()
  outage.down('again')
  assert.deepEqual(
    log.lines.map(({ message }) => message),
    ['it is away; trying on', 'it is still away', 'it is still away', 'it is back', 'it is away; trying on'],
  )
  assert.equal(log.lines[1]?.facts['errors'], 601)
})

test('a warning is said once in a while, with how often it was not', () => {
  const log = keepLines()
  let now = 0
  const warn = createPacedWarn(log, 1_000, () => now)
  for (; now < 2_500; now += 100) warn({ now }, 'trouble')
  warn({}, 'other trouble')
  assert.deepEqual(
    log.lines.map(({ message, facts }) => [message, facts['leftOut']]),
    [
      ['trouble', undefined],
      ['trouble', 9],
      ['trouble', 9],
      ['other trouble', undefined],
    ],
  )
})
