import { deepEqual, equal, throws } from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { ExactNumber } from '../../src/rules/exact-numbers.ts'
import { Payload } from '../../src/rules/payload.ts'

const payload = (text: string) => new Payload(Buffer.from(text))

describe('a payload', () => {
  test('that is JSON has a value', () => deepEqual(payload('{"a":[1,null,"x"]}').value, { a: [1, null, 'x'] }))
  test('null is a value', () => equal(payload(' null ').value, null))
  for (const bytes of [Buffer.from(''), Buffer.from('{"a":'), Buffer.from('plain'), Buffer.from([0xff, 0x22])]) {
    test(`${bytes.toString('hex')} has none`, () => equal(new Payload(bytes).value, undefined))
  }
  test('that is not UTF-8 has no text', () => equal(new Payload(Buffer.from([0xff])).text, undefined))
  test('is decoded once', () => {
    const one = payload('{"a":1}')
    equal(one.value, one.value)
  })

  for (const text of [
    '{"tupleStream":true,"@":{},"limit":9}',
    '{"a":[{"_jsonata_lambda":true}]}',
    '{"a":{"_jsonata_function":1}}',
    '{"\\u006futerWrapper":true}',
  ]) {
    test(`${text} passes for something of jsonata's and is refused`, () => {
      throws(() => payload(text).value, { code: 'EXPRESSION_FAILED', reason: 'PAYLOAD_MARK' })
      throws(() => payload(text).exactValue, { reason: 'PAYLOAD_MARK' })
    })
  }
  test('such a name as a text is nothing special', () => deepEqual(payload('["tupleStream"]').value, ['tupleStream']))

  test('nested more deeply than can be looked at fails in words', () => {
    const deep = `${'['.repeat(60_000)}12345678901234567890${']'.repeat(60_000)}`
    throws(() => payload(deep).exactValue, { code: 'EXPRESSION_FAILED', reason: 'PAYLOAD_DEPTH' })
  })
})

describe('a number that a double cannot hold', () => {
  for (const text of [
    '9007199254740993',
    '-9007199254740993',
    '12345678901234567890',
    '0.12345678901234567890',
    '123456789.123456789',
    '0.1000000000000000055511151231257827',
    '1e400',
    '-1e400',
    '1e-400',
    '105e-324',
    '-1.234567e-320',
    '1.7976931348623159e309',
    '30.0000000000000000001',
  ]) {
    test(`${text} stays as it came`, () => {
      const value = payload(`{"n": ${text}}`).exactValue as { n: ExactNumber }
      equal(value.n instanceof ExactNumber, true)
      equal(JSON.stringify(value), `{"n":${text}}`)
    })
  }
  for (const text of [
    '0',
    '-0',
    '30.000000000000000000',
    '9007199254740992',
    '1e21',
    '1E5',
    '0e999',
    '5e-324',
    '0.1',
    '1.5e300',
    '1700000000123',
    '1000000000000000000000',
  ]) {
    test(`${text} needs none of that`, () => {
      deepEqual(payload(`{"n": ${text}}`).exactValue, { n: Number(text) })
    })
  }
  test('in a text it is text', () =>
    deepEqual(payload('["12345678901234567890"]').exactValue, ['12345678901234567890']))
  test('is a double to those who compute', () => deepEqual(payload('[9007199254740993]').value, [9007199254740992]))

  test('any number is written as the number that came', () => {
    const digits = fc.stringMatching(/^-?(?:0|[1-9]\d{0,25})(?:\.\d{1,25})?(?:[eE][+-]?\d{1,3})?$/)
    fc.assert(
      fc.property(digits, (text) => {
        const written = JSON.stringify(payload(`[${text}]`).exactValue).slice(1, -1)
        deepEqual(asFraction(written), asFraction(text))
      }),
      { numRuns: 2_000 },
    )
  })
})

/** Digits and power of ten, by another way than the code's. */
function asFraction(text: string): readonly [bigint, bigint] {
  const [mantissa = '', exponent = '0'] = text.toLowerCase().split('e')
  const [whole = '', fraction = ''] = mantissa.split('.')
  let digits = BigInt(`${whole}${fraction}`)
  let power = BigInt(exponent) - BigInt(fraction.length)
  if (digits === 0n) return [0n, 0n]
  while (digits % 10n === 0n) {
    digits /= 10n
    power += 1n
  }
  return [digits, power]
}
