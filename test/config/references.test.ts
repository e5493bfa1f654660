import { deepEqual, equal, ok } from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { refuseReferences, substituteReferences } from '../../src/config/references.ts'
import type { Reference, Resolve } from '../../src/core/reference.ts'

const place = { file: '/x/sluice.yaml', owner: { kind: 'ingest' } } as const

function substitute(text: string, values: Readonly<Record<string, string>> = {}) {
  const seen: Reference[] = []
  const result = substituteReferences(
    (reference) => {
      seen.push(reference)
      const value = reference.kind === 'env' ? (values[reference.name] ?? reference.fallback) : `<${reference.path}>`
      return value === undefined ? { problem: 'missing' } : { value }
    },
    () => place,
  )(text, ['a'])
  return { ...result, seen }
}

test('references are replaced wherever they stand in a text', () => {
  const { text, state, seen } = substitute('redis://:${env:PW}@${env:HOST:-localhost}/${file:./db}', { PW: 's3cret' })
  equal(text, 'redis://:s3cret@localhost/<./db>')
  equal(state, 'resolved')
  deepEqual(seen, [
    { kind: 'env', name: 'PW' },
    { kind: 'env', name: 'HOST', fallback: 'localhost' },
    { kind: 'file', path: './db' },
  ])
})

test('a default may be empty and may hold ":-"', () => {
  equal(substitute('[${env:A:-}]').text, '[]')
  equal(substitute('${env:A:-b:-c d}').text, 'b:-c d')
})

test('what a value holds is not read again', () =>
  equal(substitute('${env:A}', { A: '${env:B}', B: 'no' }).text, '${env:B}'))

test('$${env:…} is the text itself', () => {
  deepEqual(substitute('$${env:HOME} and $${file:x}'), { text: '${env:HOME} and ${file:x}', seen: [] })
})

test('templates and policy variables are left alone', () => {
  for (const text of ['${ $topic(2) }', '${iot:ClientId}', '$env', '{env:A}', '${ENV:A}'])
    deepEqual(substitute(text), { text, seen: [] })
})

test('without a resolver references stay open, and escapes become text all the same', () => {
  const open = substituteReferences(undefined, () => place)
  deepEqual(open('${env:A}', []), { text: '${env:A}', state: 'open', problems: [], replaced: [] })
  deepEqual(open('$${env:A}', []), { text: '${env:A}' })
})

test('rules refuse references and keep escapes for their templates', () => {
  const [problem] = refuseReferences('x ${file:/etc/passwd}', ['select']).problems ?? []
  equal(problem?.offset, 2)
  ok(problem?.message.startsWith('"${file:…}" may not stand in a rule'))
  deepEqual(refuseReferences('$${env:A} ${ b }', []), { text: '$${env:A} ${ b }' })
})

test('any text gives a text, and a problem where a reference is malformed', () => {
  const parts = fc.constantFrom('${env:', '${file:', '}', '$', 'A', ':-', ' ', '{', 'é')
  fc.assert(
    fc.property(fc.array(parts, { maxLength: 12 }), (pieces) => {
      const { text, problems = [] } = substitute(pieces.join(''), { A: 'v' })
      ok(typeof text === 'string')
      ok(/(?<!\$)\$\{(?:env|file):/.test(text) ? problems.length > 0 || pieces.join('').includes('$${') : true)
    }),
    { numRuns: 1000 },
  )
})

test('what is no secret in an address: the host, and the user of Redis where a password follows', () => {
  /** For each reference, whether its value would be shown. */
  const shown = (text: string, values: Readonly<Record<string, string>> = {}) => {
    const open: boolean[] = []
    const resolve: Resolve = (reference, { isOpen }) => {
      const value = values[reference.kind === 'env' ? reference.name : ''] ?? 'value'
      open.push(isOpen?.(value) ?? false)
      return { value }
    }
    substituteReferences(resolve, () => place)(text, ['queue', 'url'])
    return open
  }
  deepEqual(shown('rediss://${env:USER}:${file:/run/secrets/pw}@${env:HOST}:${env:PORT:-6379}/0'), [
    true,
    false,
    true,
    true,
  ])
  deepEqual(shown('redis://${env:HOST}:6379'), [true])
  deepEqual(shown('mqtts://${env:USER}:${env:PW}@${env:HOST}'), [false, false, true])
  // A token in the place of a user, and addresses that are secret as a whole.
  for (const text of [
    'redis://${env:TOKEN}@redis',
    'redis://${env:TOKEN}:@redis',
    'https://${env:HOST}/x',
    '${env:URL}',
  ])
    deepEqual(shown(text), [false], text)
  // A value that brings the password along.
  deepEqual(shown('redis://${env:REST}', { REST: 'user:pw@redis:6379' }), [false])
  deepEqual(shown('redis://${env:BOTH}:x@redis', { BOTH: 'user:pw' }), [false])
  deepEqual(shown('redis://${env:USER}:${env:PW}-${env:USER}@h', { USER: 'ingest' }), [true, false, false])
  // A password with an "@" of its own, which our reader of addresses takes.
  deepEqual(shown('redis://ingest:p@${env:REST}@${env:HOST}:6379'), [false, true])
})
