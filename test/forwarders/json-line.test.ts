import assert from 'node:assert/strict'
import { it } from 'node:test'
import * as fc from 'fast-check'
import { isJson, jsonLine } from '../../src/forwarders/json-line.ts'

const line = (payload: string | Uint8Array, selected = false) =>
  jsonLine({ payload: Buffer.from(payload), selected }).toString('utf8')

it('takes out the space between tokens and nothing else', () => {
  const cases: readonly [payload: string, expected: string][] = [
    ['{"a":1}', '{"a":1}'],
    [' { "a" :\t[ 1 ,\r\n 2 ] } \n', '{"a":[1,2]}'],
    ['{"a b": "c  d\\n \\" e \\\\" , "x": 1}', '{"a b":"c  d\\n \\" e \\\\","x":1}'],
    // Digits that a double doesn't hold, the same key twice, escapes that could be shorter.
    ['[1.10, 1E+2, 12345678901234567890, -0.0]', '[1.10,1E+2,12345678901234567890,-0.0]'],
    ['{"a": 1, "a": 2}', '{"a":1,"a":2}'],
    ['"\\u00e9 \\/ é \u2028"', '"\\u00e9 \\/ é \u2028"'],
    [' null ', 'null'],
  ]
  for (const [payload, expected] of cases) assert.equal(line(payload), expected)
})

it('writes what is no JSON as base64', () => {
  for (const payload of ['', ' ', 'hello', '{"a":1', "{'a':1}", '{"a":1}\n{"b":2}', '\ufeff{}', 'NaN', '"a\nb"']) {
    assert.equal(line(payload), JSON.stringify({ base64: Buffer.from(payload).toString('base64') }), payload)
  }
  assert.equal(line(Uint8Array.from([0x22, 0xff, 0x22])), '{"base64":"Iv8i"}')
})

it('takes JSON of any depth', () => {
  const deep = `${'[ '.repeat(100_000)}${']'.repeat(100_000)}`
  const made = line(deep)
  assert.ok(made === deep.replaceAll(' ', '') || made.startsWith('{"base64":'))
})

it('keeps the value of any JSON, however it was laid out, on one line', () => {
  fc.assert(
    fc.property(fc.json(), fc.constantFrom(undefined, '\t', '  ', '\n'), (json, indent) => {
      const laidOut = JSON.stringify(JSON.parse(json), undefined, indent)
      const made = line(laidOut)
      assert.ok(!/[\n\r]/.test(made))
      assert.equal(made, JSON.stringify(JSON.parse(json)))
    }),
  )
})

it('makes one line of JSON of any bytes, from which the bytes come back', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      const made = line(bytes)
      assert.ok(!/[\n\r]/.test(made))
      const value = JSON.parse(made) as { base64?: string }
      if (!isJson(Buffer.from(bytes))) assert.deepEqual(Buffer.from(value.base64 ?? '', 'base64'), Buffer.from(bytes))
    }),
  )
})
