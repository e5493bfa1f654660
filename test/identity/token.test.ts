import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { describe, it } from 'node:test'
import * as fc from 'fast-check'
import type { Presented } from '../../src/core/access.ts'
import { createRegistry } from '../../src/identity/registry.ts'
import { maxTokenBytes, token } from '../../src/identity/token.ts'
import { authContext } from '../support/auth-context.ts'
import { authMethodConformance } from '../conformance/auth-method.ts'
import { directoryOf } from '../support/directory.ts'

const sha256 = (text: string) => createHash('sha256').update(text, 'utf8').digest('hex')
const http = (bearer: string): Presented => ({ protocol: 'http', bearer })
const mqtt = (username: string, password: string): Presented => ({
  protocol: 'mqtt',
  clientId: 'c',
  username,
  password: Buffer.from(password),
})

const registry = createRegistry(
  directoryOf({
    things: [{ name: 'd-17' }],
    principals: [
      { name: 'd-17', thing: 'd-17', proofs: { token: { sha256: sha256('right token of d-17') } } },
      { name: 'plant', actsFor: ['*'], proofs: { token: { sha256: sha256('tökén of plant') } } },
      { name: 'tokenless' },
      { name: 'twin-a', proofs: { token: { sha256: sha256('token of the twins') } } },
      { name: 'twin-b', proofs: { token: { sha256: sha256('token of the twins') } } },
      { name: '__proto__', proofs: { token: { sha256: sha256('token of __proto__') } } },
    ],
  }),
)

authMethodConformance({
  method: token,
  registry,
  valid: [
    { presented: http('right token of d-17'), principal: 'd-17' },
    { presented: mqtt('d-17', 'right token of d-17'), principal: 'd-17' },
    { presented: http('tökén of plant'), principal: 'plant' },
    { presented: mqtt('__proto__', 'token of __proto__'), principal: '__proto__' },
  ],
  wrong: {
    'an unknown bearer token': http('no such token'),
    'an empty bearer token': http(''),
    'a bearer token that two principals share': http('token of the twins'),
    'a stored hash shown as the token': http(sha256('right token of d-17')),
    'a bearer token over the length that is hashed': http('x'.repeat(maxTokenBytes + 1)),
    'an unknown principal': mqtt('nobody', 'right token of d-17'),
    'a known principal with a wrong token': mqtt('d-17', 'a guess of somebody'),
    "a known principal with another's token": mqtt('d-17', 'tökén of plant'),
    'a principal without a token': mqtt('tokenless', ''),
    'a name that every object has': mqtt('constructor', 'right token of d-17'),
    'a password over the length that is hashed': mqtt('d-17', 'x'.repeat(maxTokenBytes + 1)),
    'a password without a user name': { protocol: 'mqtt', password: Buffer.from('right token of d-17') },
  },
  absent: {
    'an HTTP request without authorization': { protocol: 'http', sourceIp: '127.0.0.1' },
    'an MQTT client without password': { protocol: 'mqtt', clientId: 'd-17' },
    'an MQTT client with a user name alone': { protocol: 'mqtt', clientId: 'd-17', username: 'd-17' },
  },
  secrets: [
    'right token of d-17',
    'tökén of plant',
    'a guess of somebody',
    'no such token',
    sha256('right token of d-17'),
  ],
  proofs: {
    good: [{ sha256: sha256('anything') }, { sha256: sha256('x').toUpperCase() }],
    bad: [{ sha256: 'ab' }, { token: 'x' }, {}, 'x', { sha256: sha256('x'), y: 1 }],
  },
})

describe('token', () => {
  it('gives a principal its actsFor', async () => {
    const verdict = await token.open(authContext(registry)).authenticate(http('tökén of plant'))
    assert.deepEqual(verdict, { kind: 'principal', principal: { name: 'plant', method: 'token', actsFor: ['*'] } })
  })

  it('takes a shared token beside a user name, which says whose it is', async () => {
    const verdict = await token.open(authContext(registry)).authenticate(mqtt('twin-b', 'token of the twins'))
    assert.equal(verdict.kind === 'principal' && verdict.principal.name, 'twin-b')
  })

  it('lets nobody in by any other text or bytes, and never throws', async () => {
    const ask = token.open(authContext(registry)).authenticate
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'binary' }), fc.uint8Array(), async (text, bytes) => {
        assert.equal((await ask(http(text))).kind, 'refused')
        assert.equal((await ask({ protocol: 'mqtt', username: text, password: Buffer.from(bytes) })).kind, 'refused')
      }),
    )
  })
})
