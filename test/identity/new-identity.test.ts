import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { describe, it } from 'node:test'
import { parse } from 'yaml'
import { createIdentity } from '../../src/identity/new-identity.ts'
import { createRegistry } from '../../src/identity/registry.ts'
import { token } from '../../src/identity/token.ts'
import { authContext } from '../support/auth-context.ts'
import { directoryOf } from '../support/directory.ts'

describe('createIdentity', () => {
  it('makes an entry that the token opens, and the token is not in it', async () => {
    const made = createIdentity({ name: 'd-17', thing: 'd-17', policies: ['telemetry', 'true'] })
    const entry = parse(made.yaml).principals[0]
    assert.deepEqual(entry, {
      name: 'd-17',
      thing: 'd-17',
      policies: ['telemetry', 'true'],
      token: { sha256: createHash('sha256').update(made.token).digest('hex') },
    })
    assert.ok(!made.yaml.includes(made.token))
    assert.equal(token.proof.schema.safeParse(entry.token).success, true)
    const registry = createRegistry(directoryOf({ principals: [{ name: 'd-17', proofs: { token: entry.token } }] }))
    const verdict = await token.open(authContext(registry)).authenticate({ protocol: 'http', bearer: made.token })
    assert.equal(verdict.kind, 'principal')
  })

  it('makes a new token of 256 random bits each time, recognisable by its prefix', () => {
    const tokens = Array.from({ length: 50 }, () => createIdentity({ name: 'd' }).token)
    assert.equal(new Set(tokens).size, 50)
    for (const one of tokens) {
      assert.match(one, /^slc_[A-Za-z0-9_-]{43}$/)
      assert.equal(Buffer.from(one.slice(4), 'base64url').length, 32)
    }
  })

  it('keeps names that YAML would read as something else', () => {
    for (const name of ['123', '1e3', 'no', 'null', 'a:b', '_']) {
      assert.equal(parse(createIdentity({ name, thing: name }).yaml).principals[0].name, name)
      assert.equal(parse(createIdentity({ name, thing: name }).yaml).principals[0].thing, name)
    }
  })

  it('registers the thing where there is none yet', () => {
    const directory = directoryOf({ things: [{ name: 'd-1' }] })
    assert.equal(parse(createIdentity({ name: 'p', thing: 'd-1', directory }).yaml).things, undefined)
    assert.deepEqual(parse(createIdentity({ name: 'p', thing: 'd-2', directory }).yaml).things, [{ name: 'd-2' }])
  })

  it('refuses a name that is taken, a policy that does not exist, and a name that is not fit for a file', () => {
    const directory = directoryOf({ principals: [{ name: 'd-1' }], policies: ['telemetry'] })
    assert.throws(() => createIdentity({ name: 'd-1', directory }), { code: 'WRONG_USE', message: /"d-1" already/ })
    const wrong = { code: 'WRONG_USE', message: /no policy "nope"/ }
    assert.throws(() => createIdentity({ name: 'd-2', policies: ['telemetry', 'nope'], directory }), wrong)
    for (const name of ['', '../x', 'a/b', '.hidden', 'a b', 'a\nb', 'x'.repeat(129)]) {
      assert.throws(() => createIdentity({ name }), { code: 'WRONG_USE' }, name)
      assert.throws(() => createIdentity({ name: 'd', thing: name }), { code: 'WRONG_USE' }, name)
    }
  })
})
