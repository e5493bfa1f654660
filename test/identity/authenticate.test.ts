import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Verdict } from '../../src/core/access.ts'
import { createAuthentication } from '../../src/identity/authenticate.ts'
import { authMethods } from '../../src/identity/index.ts'
import type { AuthMethod } from '../../src/identity/method.ts'
import { createRegistry } from '../../src/identity/registry.ts'
import { authContext } from '../support/auth-context.ts'
import { directoryOf } from '../support/directory.ts'

const context = authContext(createRegistry(directoryOf({})))
const shown = { protocol: 'http', bearer: 'x' } as const
const someone: Verdict = { kind: 'principal', principal: { name: 'someone', method: 'test' } }

describe('authenticate', () => {
  it('asks in order and goes on while there is nothing for a method', async () => {
    const asked: string[] = []
    const ask = createAuthentication(
      [
        method('a', () => (asked.push('a'), { kind: 'absent' })),
        method('b', () => (asked.push('b'), someone)),
        method('c', () => (asked.push('c'), { kind: 'refused', reason: 'never asked' })),
      ],
      context,
    ).authenticate
    assert.deepEqual(await ask(shown), someone)
    assert.deepEqual(asked, ['a', 'b'])
  })

  it('says "absent" when nothing was shown to any', async () => {
    const { authenticate } = createAuthentication(authMethods, context)
    assert.deepEqual(await authenticate({ protocol: 'mqtt' }), { kind: 'absent' })
  })

  it('refuses what was shown and no method knows', async () => {
    assert.equal((await createAuthentication([], context).authenticate(shown)).kind, 'refused')
  })

  it('refuses when a method throws, without the text of the error', async () => {
    const broken = method('broken', () => {
      throw new Error('secret detail')
    })
    const verdict = await createAuthentication([broken, method('b', () => someone)], context).authenticate(shown)
    assert.deepEqual(verdict, { kind: 'refused', reason: 'the proof could not be checked' })
  })

  it('fills no log where a method throws again and again', async () => {
    const lines: string[] = []
    const log = { ...context.log, error: (_facts: unknown, message: string) => void lines.push(message) }
    const broken = method('broken', () => {
      throw new Error('the body broke off')
    })
    const { authenticate } = createAuthentication([broken], { ...context, log })
    for (let count = 0; count < 100; count += 1) assert.equal((await authenticate(shown)).kind, 'refused')
    assert.equal(lines.length, 5)
  })

  it('asks the method that let somebody in whether they may stay, and no other', async () => {
    const renewing: AuthMethod = {
      type: 'b',
      summary: '',
      open: () => ({ authenticate: async () => ({ kind: 'absent' }), renew: async () => someone }),
    }
    const { renew } = createAuthentication([method('a', () => ({ kind: 'refused', reason: 'a' })), renewing], context)
    assert.deepEqual(await renew(shown, { name: 'x', method: 'b' }), someone)
    assert.deepEqual(await renew(shown, { name: 'x', method: 'a' }), { kind: 'refused', reason: 'a' })
    assert.equal((await renew(shown, { name: 'x', method: 'gone' })).kind, 'refused')
  })

  it('leaves what an upgrade shows to a default authorizer, which is asked at CONNECT', async () => {
    const upgrade = { protocol: 'mqtt-ws', bearer: 'x' } as const
    const sections = { authorizers: [{ name: 'a', default: true }] }
    const withDefault = authContext(createRegistry(directoryOf({ sections })))
    assert.equal((await createAuthentication([], context).authenticate(upgrade)).kind, 'refused')
    assert.equal((await createAuthentication([], withDefault).authenticate(upgrade)).kind, 'absent')
    assert.equal(
      (await createAuthentication([], withDefault).authenticate({ ...upgrade, clientId: 'c' })).kind,
      'refused',
    )
  })

  it('has methods of different types', () => {
    const types = authMethods.map((one) => one.type)
    assert.deepEqual(types, [...new Set(types)])
  })
})

function method(type: string, answer: () => Verdict): AuthMethod {
  return { type, summary: '', open: () => ({ authenticate: async () => answer() }) }
}
