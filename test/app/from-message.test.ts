import { equal, ok, rejects } from 'node:assert/strict'
import { test } from 'node:test'
import { fromMessage } from '../../src/app/from-message.ts'
import type { Publish } from '../../src/core/access.ts'

const publish = (topic: string, payload: string): Publish => ({
  topic,
  payload: Buffer.from(payload),
  qos: 1,
  retain: false,
})

test('a level of the topic is told at once', () => {
  const from = fromMessage('${ $topic(2) }')
  equal(from(publish('devices/d-17/x', '')), 'd-17')
  equal(from(publish('devices', '')), undefined)
})

test('the levels of a message to one rule begin behind its prefix, as everywhere', () => {
  equal(fromMessage('${ $topic(2) }')(publish('$aws/rules/num/devices/d-17/x', '')), 'd-17')
})

test('text around it stays, and text alone is the same for every message', () => {
  equal(fromMessage('site-${ $topic(1) }')(publish('b1/x', '')), 'site-b1')
  equal(fromMessage('gateway')(publish('b1/x', '')), 'gateway')
})

test('what needs the payload is evaluated; a message that doesn’t say, or says something else, has no name', async () => {
  const from = fromMessage('${ device.id & "" }')
  equal(await from(publish('x', '{"device":{"id":"d-3"}}')), 'd-3')
  equal(await from(publish('x', 'not JSON')), undefined)
  ok(from(publish('x', '{}')) instanceof Promise)
})

test('a template that fails on a message says why', async () => {
  await rejects(async () => fromMessage('${ $number(id) }')(publish('x', '{"id":"none"}')), /number/)
})
