import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, it, type TestContext } from 'node:test'
import { issuerSchema } from '../../src/identity/jwt/issuer.ts'
import { jwt } from '../../src/identity/jwt.ts'
import { loadFolder, writeConfig } from '../support/config-folder.ts'
import { makeCertificates } from '../support/certificates.ts'

/** The problems of an issuer's entry; `more` are lines of it, `files` stand beside it. */
async function problemsOf(test: TestContext, more: string, files: Readonly<Record<string, string>> = {}) {
  const folder = await writeConfig(test, {
    'sluice.yaml': '',
    'identity/issuers.yaml': `issuers:\n  - name: company\n    ${more.trim().replaceAll('\n', '\n    ')}\n`,
    'identity/policies/role.yaml': "Version: '2012-10-17'\nStatement: []\n",
    ...files,
  })
  const loaded = await loadFolder(folder, { authMethods: [jwt] })
  return loaded.problems.map(({ message }) => message)
}

const publicKey = { kty: 'EC', crv: 'P-256', x: 'AAAA', y: 'AAAA', kid: 'a' }
const keysFile = (...keys: readonly unknown[]) => ({ 'identity/keys.json.txt': JSON.stringify({ keys }) })

describe('jwt: issuers in identity/', () => {
  const good: Readonly<Record<string, string>> = {
    'by discovery': 'issuer: https://id.example.com/realms/things\naudience: [sluice]',
    'by an address': 'issuer: anything at all\njwks: https://id.example.com/certs\naudience: any',
    'on this machine': 'issuer: http://127.0.0.1:8080\naudience: [sluice]',
    'with everything': `issuer: https://id.example.com
jwks: https://id.example.com/certs
audience: [sluice]
algorithms: [PS256, EdDSA]
typ: at+jwt
leeway: 1m
maxAge: 1h
claims: { thing: a.b, groups: groups, required: { scope: iot, level: 2, ok: true } }
policies: [role]
pool: { role: [role], identityId: sub }
unauthenticated: { role: [role] }`,
  }
  for (const [title, more] of Object.entries(good))
    it(`takes one ${title}`, async (test) => assert.deepEqual(await problemsOf(test, more), []))

  it('reads keys and an authority from files', async (test) => {
    const { ca } = await makeCertificates(test)
    const keys = await problemsOf(test, 'issuer: x\naudience: any\njwks: ./keys.json.txt', keysFile(publicKey))
    assert.deepEqual(keys, [])
    const more = 'issuer: https://id.example.com\naudience: any\nca: ca.pem'
    assert.deepEqual(await problemsOf(test, more, { 'identity/ca.pem': ca }), [])
  })

  const bad: Readonly<Record<string, readonly [string, RegExp]>> = {
    'no audience': ['issuer: https://id.example.com', /audience is missing/],
    'an audience that is neither a list nor any': [
      'issuer: https://id.example.com\naudience: sluice',
      /audience must be a list of audiences/,
    ],
    'an empty audience': ['issuer: https://id.example.com\naudience: []', /audience/],
    'an issuer without keys': [
      'issuer: company\naudience: any',
      /issuer: must be an address.*write where its keys are/,
    ],
    'plain http': ['issuer: http://id.example.com\naudience: any', /issuer: must begin with https/],
    'a query': ['issuer: https://id.example.com?a=b\naudience: any', /issuer: must not hold a "\?"/],
    'keys over plain http': ['issuer: x\naudience: any\njwks: http://id.example.com/', /jwks must begin with https/],
    'keys by ftp': ['issuer: x\naudience: any\njwks: ftp://id.example.com/', /jwks must be an address/],
    'keys with a password': [
      'issuer: x\naudience: any\njwks: https://a:b@id.example.com/',
      /jwks must not hold a user/,
    ],
    'a shared secret': ['issuer: https://x\naudience: any\nalgorithms: [HS256]', /algorithms\.0 must be one of RS256/],
    'no signature': ['issuer: https://x\naudience: any\nalgorithms: [none]', /algorithms\.0 must be one of RS256/],
    'a policy that is not there': [
      'issuer: https://x\naudience: any\npolicies: [role, rolle]',
      /policies\.1: there is no/,
    ],
    'a role that is not there': ['issuer: https://x\naudience: any\npool: { role: [r] }', /pool\.role\.0: there is no/],
    'an empty role': ['issuer: https://x\naudience: any\npool: { role: [] }', /pool\.role must name/],
    'a guest role that is not there': [
      'issuer: https://x\naudience: any\nunauthenticated: { role: [r] }',
      /unauthenticated\.role\.0: there is no/,
    ],
    'a leeway without bounds': ['issuer: https://x\naudience: any\nleeway: 1h', /leeway must be at most 5m/],
    'an authority without TLS': [
      "issuer: http://localhost\naudience: any\nca: '-----BEGIN CERTIFICATE-----'",
      /ca: nothing is fetched over TLS/,
    ],
    'an authority that is none': [
      "issuer: https://localhost\naudience: any\nca: '-----BEGIN CERTIFICATE-----'",
      /ca: the certificate can't be read/,
    ],
    'an unknown key': ['issuer: https://x\naudience: any\naudiences: [x]', /unknown key "audiences"/],
  }
  for (const [title, [more, message]] of Object.entries(bad)) {
    it(`complains about ${title}`, async (test) => {
      const problems = await problemsOf(test, more)
      assert.equal(problems.length, 1, problems.join('\n'))
      assert.match(problems[0] ?? '', message)
    })
  }

  for (const name of ['bridge', 'worker']) {
    it(`complains about a name that ${name}s have`, async (test) => {
      const more = { 'identity/more.yaml': `issuers: [{ name: ${name}, issuer: https://y, audience: any }]` }
      const problems = await problemsOf(test, 'issuer: https://x\naudience: any', more)
      assert.match(problems.join('\n'), new RegExp(`^issuers\\.0\\.name must not be "${name}"`))
    })
  }

  const keys: Readonly<Record<string, readonly [string, RegExp]>> = {
    'are private': [JSON.stringify({ keys: [publicKey, { ...publicKey, d: 'TOP' }] }), /key 2 is not a public key/],
    'are secret': [JSON.stringify({ keys: [{ kty: 'oct', k: 'TOP' }] }), /key 1 is not a public key/],
    'are none': ['{"keys":[]}', /must be a JWK Set/],
    'are a lone key': [JSON.stringify(publicKey), /must be a JWK Set/],
    'are no keys': ['{"keys":[7]}', /key 1 is no JWK/],
    'are no JSON': ['{"keys": TOP', /is not valid JSON/],
  }
  for (const [title, [text, message]] of Object.entries(keys)) {
    it(`complains about keys that ${title}, and repeats nothing of them`, async (test) => {
      const more = 'issuer: x\naudience: any\njwks: keys.json.txt'
      const problems = await problemsOf(test, more, { 'identity/keys.json.txt': text })
      assert.equal(problems.length, 1, problems.join('\n'))
      assert.match(problems[0] ?? '', message)
      assert.ok(!problems.join().includes('TOP'))
    })
  }

  it('complains about two entries for one iss, and two for one subject', async (test) => {
    const proof = 'jwt: { issuer: company, subject: s }'
    const problems = await problemsOf(test, 'issuer: https://x\naudience: any', {
      'identity/more.yaml': `issuers:\n  - { name: again, issuer: https://x, audience: any }
principals:\n  - { name: a, ${proof} }\n  - { name: b, ${proof} }\n`,
    })
    assert.equal(problems.length, 2, problems.join('\n'))
    assert.match(problems.join('\n'), /"again" has here what "company" has/)
    assert.match(problems.join('\n'), /"b" has here what "a" has/)
  })
})

describe('jwt: docs/identity-jwt.md', () => {
  const text = readFileSync('docs/identity-jwt.md', 'utf8')

  it('has every key of an issuer', () => {
    const { claims, ...keys } = issuerSchema.shape
    const all = [...Object.keys(keys), ...Object.keys(claims.unwrap().shape).map((key) => `claims.${key}`)]
    const missing = all.filter((key) => !text.includes(`| \`${key}\` |`) && !text.includes(`| \`${key}.role\` |`))
    assert.deepEqual(missing, [])
  })

  it('has examples that load', async (test) => {
    const examples = [...text.matchAll(/```yaml\n([^`]*)```/g)].map(([, yaml]) => yaml ?? '')
    assert.equal(examples.length, 4)
    const named = ['telemetry', 'maintenance', 'pool-role', 'guest-role']
    const policies = named.map((name) => `  ${name}: { Version: '2012-10-17', Statement: [] }\n`).join('')
    const folder = await writeConfig(test, {
      'sluice.yaml': '',
      'identity/policies.yaml': `policies:\n${policies}`,
      ...Object.fromEntries(examples.map((yaml, index) => [`identity/example-${index}.yaml`, yaml])),
    })
    const { problems } = await loadFolder(folder, { authMethods: [jwt] })
    assert.deepEqual(problems, [])
  })
})
