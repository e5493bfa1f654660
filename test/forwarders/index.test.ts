import assert from 'node:assert/strict'
import { it } from 'node:test'
import { credentials } from '../../src/credentials/index.ts'
import { forwarders } from '../../src/forwarders/index.ts'

it('has each kind once', () => {
  const kinds = forwarders.map(({ kind }) => kind)
  assert.deepEqual(kinds, [...new Set(kinds)].toSorted())
  for (const kind of ['file', 'http', 'log', 'sqs']) assert.ok(kinds.includes(kind))
})

it('takes only credential types that there are', () => {
  const types = new Set(credentials.map(({ type }) => type))
  for (const { kind, credentials: taken } of forwarders)
    for (const type of taken) assert.ok(types.has(type), `${kind}: ${type}`)
})
