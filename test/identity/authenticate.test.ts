import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Verdict } from '../../src/core/access.ts'
import { silent } from '../../src/core/log.ts'
import { createAuthenticate } from '../../src/identity/authenticate.ts'
import { authMethods } from '../../src/identity/index.ts'
import type { AuthMethod } from '../../src/identity/method.ts'
import { createRegistry } from '../../src/identity/registry.ts'
import { directoryOf } from '../support/directory.ts'

const context = { registry: createRegistry(directoryOf({})), log: silent }
const shown = { protocol: 'http', bearer: 'x' } as const
const someone: Verdict = { kind: 'principal', principal: { name: 'someone', method: 'test' } }

describe('authenticate', () => {
  it('asks in order and goes on while there is nothing for a method', async () => {
    const asked: string[] = []
    const ask = createAuthenticate(
      [
        method('a', () => (asked.push('a'), { kind: 'absent' })),
        method('b', () => (asked.push('b'), someone)),
        method('c', () => (asked.push('c'), { kind: 'refused', reason: 'never asked' })),
      ],
      context,
    )
    assert.deepEqual(await ask(shown), someone)
    assert.deepEqual(asked, ['a', 'b'])
  })

  it('says "absent" when nothing was shown to any', async () => {
    assert.deepEqual(await createAuthenticate(authMethods, context)({ protocol: 'mqtt' }), { kind: 'absent' })
    assert.deepEqual(await createAuthenticate([], context)(shown), { kind: 'absent' })
  })

  it('refuses when a method throws, without the text of the error', async () => {
    const broken = method('broken', () => {
      throw new Error('secret detail')
    })
    const verdict = await createAuthenticate([broken, method('b', () => someone)], context)(shown)
    assert.deepEqual(verdict, { kind: 'refused', reason: 'the proof could not be checked' })
  })

  it('has methods of different types', () => {
    const types = authMethods.map((one) => one.type)
    assert.deepEqual(types, [...new Set(types)])
  })
})

function method(type: string, answer: () => Verdict): AuthMethod {
  return { type, summary: '', open: () => async () => answer() } as unknown as AuthMethod
}
