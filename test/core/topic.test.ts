import { deepEqual, equal, match } from 'node:assert/strict'
import { describe, test } from 'node:test'
import {
  addressOf,
  complainAboutTopicFilter,
  complainAboutTopicName,
  topicMatches,
  unsharedFilter,
} from '../../src/core/topic.ts'

describe('topic names', () => {
  for (const name of [
    'a',
    '/',
    'a//b',
    'a b/ü',
    '1/2/3/4/5/6/7/8',
    '$aws/rules/r/1/2/3/4/5/6/7/8',
    `$aws/rules/${'r'.repeat(128)}/${'a'.repeat(256)}`,
    'a'.repeat(256),
  ]) {
    test(`"${name.slice(0, 40)}" is fine`, () => equal(complainAboutTopicName(name), undefined))
  }
  for (const [name, complaint] of [
    ['', /empty/],
    ['a/#', /wildcard/],
    ['a+b', /wildcard/],
    ['a\0', /U\+0000/],
    ['a\uD800', /well-formed/],
    ['1/2/3/4/5/6/7/8/9', /9 levels, and at most 8/],
    ['é'.repeat(129), /258 bytes, and at most 256/],
    [`$aws/rules/${'r'.repeat(257)}/a`, /rule of more than 128 bytes/],
  ] as const) {
    test(`${JSON.stringify(name.slice(0, 20))} is refused`, () => match(complainAboutTopicName(name) ?? '', complaint))
  }
})

describe('topic filters', () => {
  for (const filter of ['#', '+', 'a/+/b', 'a/#', '+/+', '$SYS/#'])
    test(`"${filter}" is fine`, () => equal(complainAboutTopicFilter(filter), undefined))
  for (const filter of ['a#', '#/a', 'a+', 'a/b+/c', '', 'a/#/b'])
    test(`"${filter}" is refused`, () => match(complainAboutTopicFilter(filter) ?? '', /./))
})

describe('matching', () => {
  for (const [filter, name, expected] of [
    ['a/#', 'a', true],
    ['a/#', 'a/b/c', true],
    ['a/+', 'a', false],
    ['a/+', 'a/', true],
    ['+', 'a/b', false],
    ['#', '$SYS/x', false],
    ['+/x', '$SYS/x', false],
    ['$SYS/#', '$SYS/x', true],
    ['a/b', 'a/b', true],
    ['A/b', 'a/b', false],
    ['/+', '/a', true],
    ['+/+', '/a', true],
  ] as const) {
    test(`${filter} ${expected ? 'matches' : 'does not match'} ${name}`, () =>
      equal(topicMatches(filter, name), expected))
  }
  test('a share is not part of the filter', () => equal(unsharedFilter('$share/g/a/#'), 'a/#'))
})

describe('a topic of Basic Ingest', () => {
  for (const [topic, address] of [
    ['$aws/rules/num/num/a', { rule: 'num', topic: 'num/a' }],
    ['$aws/rules/num//a/', { rule: 'num', topic: '/a/' }],
    ['$aws/rules/num', { rule: 'num', topic: '' }],
    ['$aws/rules/num/$aws/rules/x/y', { rule: 'num', topic: '$aws/rules/x/y' }],
    ['$aws/rulesx/num/a', { topic: '$aws/rulesx/num/a' }],
    ['a/b', { topic: 'a/b' }],
  ] as const)
    test(`${topic} is taken apart`, () => deepEqual(addressOf(topic), address))
})
