import { equal } from 'node:assert/strict'
import { test } from 'node:test'
import { parseAddress, parseAddressRange, plainAddress } from '../../src/policy/address.ts'

function isIn(address: string, range: string): boolean | undefined {
  const given = parseAddress(address)
  return given && parseAddressRange(range)?.(given)
}

test('addresses lie in ranges', () => {
  equal(isIn('10.255.0.1', '10.0.0.0/8'), true)
  equal(isIn('11.0.0.1', '10.0.0.0/8'), false)
  equal(isIn('10.0.0.1', '0.0.0.0/0'), true)
  equal(isIn('10.0.0.1', '10.0.0.1'), true)
  equal(isIn('2001:db8::1', '2001:DB8:0::/48'), true)
  equal(isIn('2001:db8:1::1', '2001:db8::/48'), false)
})

test('an IPv4 address inside IPv6 is the IPv4 address, on either side', () => {
  equal(isIn('::ffff:10.0.0.1', '10.0.0.0/8'), true)
  equal(isIn('10.0.0.1', '::ffff:10.0.0.0/104'), true)
})

test('an address has one spelling', () => {
  equal(plainAddress('10.0.0.1'), '10.0.0.1')
  equal(plainAddress('2001:0DB8:0:0::1'), '2001:db8::1')
  equal(plainAddress('::ffff:a00:1'), '10.0.0.1')
  equal(plainAddress('fe80::1%eth0'), 'fe80::1')
  equal(plainAddress('some:where'), 'some:where')
})

test('a range holds addresses of its own family', () => {
  equal(isIn('10.0.0.1', '::/0'), false)
  equal(isIn('::ffff:10.0.0.1', '::/0'), false)
  equal(isIn('::1', '0.0.0.0/0'), false)
  equal(isIn('10.0.0.1', '::ffff:0:0/96'), true)
  equal(isIn('10.0.0.1', '::ffff:0:0/95'), false)
  equal(isIn('::fffe:1:1', '::ffff:0:0/95'), true)
})

test('what is no range is refused', () => {
  for (const text of [
    '',
    '10.0.0.0/33',
    '::/129',
    '10.0.0.0/',
    '10.0.0/8',
    '10.0.0.0/-1',
    'fe80::1%eth0',
    '300.0.0.1',
    '10.0.0.0/8/8',
  ]) {
    equal(parseAddressRange(text), undefined, text)
  }
  equal(parseAddress('somewhere'), undefined)
})
