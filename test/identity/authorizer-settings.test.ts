import assert from 'node:assert/strict'
import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { createAuthorizerMethod } from '../../src/identity/authorizer.ts'
import {
  type AuthorizerSettings,
  authorizerSettings,
  examineAuthorizer,
} from '../../src/identity/authorizer/settings.ts'
import { loadFolder, writeConfig } from '../support/config-folder.ts'
import { fixture, noCertificates, signingPair } from '../support/authorizers.ts'
import { makeCertificates } from '../support/certificates.ts'

const pair = signingPair()
const pem = (key: KeyObject) => key.export({ type: 'spki', format: 'pem' })

describe('an entry of authorizers:', () => {
  it('has the defaults of AWS', () => {
    const { name: _, ...rest } = authorizerSettings.parse({ name: 'a', url: 'https://a.example', signing: 'disabled' })
    assert.deepEqual(rest, {
      url: 'https://a.example',
      status: 'ACTIVE',
      default: false,
      tokenSigningPublicKeys: {},
      signing: 'disabled',
      cacheForHttp: false,
      certificate: 'none',
      timeout: 5_000,
      memory: 64 * 1024 ** 2,
    })
  })

  it('says what is missing, and never quotes a secret', () => {
    const messages = (value: unknown) =>
      (authorizerSettings.safeParse(value).error?.issues ?? []).map(
        ({ path, message }) => `${path.join('.')}: ${message}`,
      )
    assert.deepEqual(messages({ name: 'a' }), [
      'name: has neither a url nor a module to be asked',
      'tokenKeyName: is needed to check signatures; or signing: disabled, to have it asked about everybody',
      'tokenSigningPublicKeys: needs a key; or signing: disabled, to have it asked about everybody',
    ])
    const [message, ...more] = messages({
      name: 'a',
      url: 'https://a.example',
      secret: 'my secret',
      signing: 'disabled',
    })
    assert.equal(message, 'secret: must be whsec_ and the base64 of 24 to 64 random bytes')
    assert.deepEqual(more, [])
  })

  it('complains about keys, authorities and modules that are of no use', async (t) => {
    const { ca } = await makeCertificates(t)
    const entry = authorizerSettings.parse({
      name: 'a',
      module: fixture('there-is-none.mjs'),
      tokenKeyName: 'token',
      tokenSigningPublicKeys: {
        good: pair.publicKey,
        short: pem(generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey),
        curve: pem(generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey),
        private: pair.privateKey,
        broken: '-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n',
      },
    })
    const complaints = examineAuthorizer(entry).map(({ path, message }) => `${path}: ${message}`)
    assert.deepEqual(complaints.slice(0, 4), [
      'tokenSigningPublicKeys.short: has 1024 bits; a key needs at least 2048',
      'tokenSigningPublicKeys.curve: is not an RSA key; tokens are signed with RSA',
      'tokenSigningPublicKeys.private: holds a private key; only its public key belongs here (openssl rsa -pubout)',
      'tokenSigningPublicKeys.broken: does not hold a public key as PEM',
    ])
    assert.match(complaints[4] ?? '', /^module: cannot be read: ENOENT/)
    const remote = authorizerSettings.parse({ name: 'a', url: 'https://a.example', ca, signing: 'disabled' })
    assert.deepEqual(examineAuthorizer(remote), [])
    assert.deepEqual(examineAuthorizer({ ...remote, ca: pair.publicKey }), [
      { path: 'ca', message: 'does not hold a certificate' },
    ])
  })

  it('can be the default once in all', () => {
    const { unique } = createAuthorizerMethod(noCertificates).section
    const entry = authorizerSettings.parse({ name: 'a', url: 'https://a.example', signing: 'disabled' })
    assert.deepEqual(unique(entry), [])
    assert.deepEqual(unique({ ...entry, default: true }), [{ text: 'default', path: 'default' }])
  })

  it('is read from a file, with keys and modules by their paths, and with the places of what is wrong', async (t) => {
    const authMethods = [createAuthorizerMethod(noCertificates)]
    const files = {
      'sluice.yaml': 'listen: {}\n',
      'rules/.keep': '',
      'workers/.keep': '',
      'identity/keys/one.pem': pair.publicKey,
      'identity/keys/private.pem': pair.privateKey,
      'identity/own/authorizer.mjs': 'export const handler = () => ({})\n',
    }
    const yaml = (key: string, more = '') =>
      `authorizers:
  - name: tokens
    module: own/authorizer.mjs
    tokenKeyName: token
    tokenSigningPublicKeys:
      one: keys/${key}
  - name: hook
    url: https://auth.example.com/
    secret: \${env:HOOK}
    signing: disabled
    default: true
${more}`
    const folder = await writeConfig(t, { ...files, 'identity/authorizers.yaml': yaml('one.pem') })
    const env = { HOOK: `whsec_${'A'.repeat(32)}` }
    const loaded = await loadFolder(folder, { authMethods, env })
    assert.deepEqual(loaded.problems, [])
    const entries = loaded.config?.directory.sections.get('authorizers')
    const tokens = entries?.get('tokens')?.value as AuthorizerSettings
    assert.equal(tokens.module, join(folder, 'identity/own/authorizer.mjs'))
    assert.deepEqual(tokens.tokenSigningPublicKeys, { one: pair.publicKey.trim() })
    const hook = entries?.get('hook')?.value as AuthorizerSettings
    assert.equal(hook.secret, env.HOOK)

    const more = '  - { name: third, url: "https://a.example", signing: disabled, default: true }\n'
    const wrong = await writeConfig(t, { ...files, 'identity/authorizers.yaml': yaml('private.pem', more) })
    const { problems } = await loadFolder(wrong, { authMethods, env })
    assert.deepEqual(
      problems.map(({ line, path }) => `${line}: ${path}`),
      ['6: authorizers.0.tokenSigningPublicKeys.one', '12: authorizers.2.default'],
    )
  })
})
