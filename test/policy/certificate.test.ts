import { deepEqual, equal } from 'node:assert/strict'
import { test } from 'node:test'
import { availableKeys, findCertificateVariable } from '../../src/policy/certificate.ts'

const name = 'iot:Certificate.Subject.CommonName'

function text(variable: string, values: readonly string[]): string | undefined {
  return findCertificateVariable(variable)?.text({ certificate: { subject: { CommonName: values } } })
}

test('the first value, or the one so many places after it', () => {
  equal(text(name, ['a', 'b', 'c']), 'a')
  equal(text(`${name}.1`, ['a', 'b', 'c']), 'b')
  equal(text(`${name}.2`, ['a', 'b', 'c']), 'c')
  equal(text(`${name}.3`, ['a', 'b', 'c']), undefined)
})

test('five values are read, and a list stands in no single place', () => {
  const certificate = { subject: { CommonName: ['1', '2', '3', '4', '5', '6'] } }
  deepEqual(findCertificateVariable(`${name}.List`)?.values({ certificate }), ['1', '2', '3', '4', '5'])
  equal(findCertificateVariable(`${name}.List`)?.text({ certificate }), undefined)
  equal(text(`${name}.5`, certificate.subject.CommonName), undefined)
})

test('values with wildcards and long values are not used, special characters are escaped', () => {
  for (const value of ['a*', '$a', 'a+b', 'a?', '#']) equal(text(name, [value]), undefined, value)
  equal(text(name, ['x'.repeat(1024)]), 'x'.repeat(1024))
  equal(text(name, ['x'.repeat(1025)]), undefined)
  equal(text(name, ['a,b"c\\d=e<f>g;h']), String.raw`a\,b\"c\\d\=e\<f\>g\;h`)
})

test('there are no other variables', () => {
  for (const other of [
    `${name}.0`,
    `${name}.list`,
    `${name}.List.1`,
    'iot:Certificate.Subject.Nonsense',
    'iot:Certificate.Subject',
  ]) {
    equal(findCertificateVariable(other), undefined, other)
  }
})

test('strange certificates have no values', () => {
  for (const certificate of [
    null,
    'x',
    { subject: [] },
    { subject: { CommonName: 'x' } },
    { subject: { CommonName: [1] } },
  ]) {
    equal(findCertificateVariable(name)?.text({ certificate: certificate as never }), undefined)
  }
  deepEqual(availableKeys({ subject: { CommonName: ['a'], Title: ['*'] } }), [name])
})
