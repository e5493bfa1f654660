import { deepEqual, equal, throws } from 'node:assert/strict'
import { test } from 'node:test'
import { effectivePolicies, simulate } from '../../src/app/simulate.ts'
import { directoryOf } from '../support/directory.ts'

test('a certificate of a file is known by its fingerprint', () => {
  const fingerprint = 'ab'.repeat(32)
  const directory = directoryOf({
    principals: [
      { name: 'other', proofs: { token: { sha256: 'cd'.repeat(32) } } },
      { name: 'pump', policies: ['all'], proofs: { x509: [{ fingerprint, status: 'ACTIVE' }] } },
    ],
  })
  const document = { Version: '2012-10-17', Statement: [{ Effect: 'Allow', Action: 'iot:*', Resource: '*' }] }
  const position = { file: 'identity/test.yaml', line: 1, column: 1 }
  const known = {
    directory: { ...directory, policies: new Map([['all', { name: 'all', document, position }]]) },
    settings: { arn: { region: 'here', account: '123456789012' }, bridges: [] },
  }
  const asked = { action: 'iot:Publish', resource: 'a', protocol: 'http', retain: false, now: 0 } as const
  equal(simulate(known, { ...asked, principal: fingerprint }).decision, 'allow')
  deepEqual(
    effectivePolicies(known, fingerprint).map(({ name, through }) => [name, through]),
    [['all', ['principal']]],
  )
  throws(() => simulate(known, { ...asked, principal: 'cd'.repeat(32) }), /has no principal/)
})

test('who comes by an issuer stands in no file, and is told so', () => {
  const known = {
    directory: directoryOf({ sections: { issuers: [{ name: 'company' }] } }),
    settings: { arn: { region: 'here', account: '123456789012' }, bridges: [] },
  }
  throws(
    () => effectivePolicies(known, 'company:alice'),
    /no principal "company:alice": .* "company" is known only when/,
  )
  throws(() => effectivePolicies(known, 'company'), /no principal "company"$/)
  throws(() => effectivePolicies(known, 'other:alice'), /no principal "other:alice"$/)
})
