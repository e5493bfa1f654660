import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { it } from 'node:test'
import type { Credential } from '../../src/core/credential.ts'
import { awsKeys } from '../../src/credentials/aws-keys.ts'
import { basic } from '../../src/credentials/basic.ts'
import { bearer } from '../../src/credentials/bearer.ts'
import { credentials } from '../../src/credentials/index.ts'
import { mqtt } from '../../src/credentials/mqtt.ts'
import { credentialConformance } from '../conformance/credential.ts'
import { keepLines } from '../support/logs.ts'

const secret = 'a-secret-of-this-test'

credentialConformance({
  definition: awsKeys,
  use: 'aws',
  good: { accessKeyId: 'AKIAUSER', secretAccessKey: secret, sessionToken: 'token' },
  bad: {
    'no secret': { accessKeyId: 'AKIAUSER' },
    'a secret with a line break': { accessKeyId: 'AKIAUSER', secretAccessKey: `${secret}\n` },
  },
  secrets: [secret],
})

credentialConformance({
  definition: bearer,
  use: 'http',
  good: { token: secret },
  bad: {
    'no token': {},
    'an empty token': { token: '' },
    'a token with a line break, which would begin a header': { token: `${secret}\r\nX: 1` },
    'a scheme with a space': { token: secret, scheme: 'a b' },
  },
  secrets: [secret],
})

credentialConformance({
  definition: basic,
  use: 'http',
  good: { username: 'sluice', password: secret },
  bad: {
    'a user with a colon': { username: 'a:b', password: secret },
    'a password with a control character': { username: 'a', password: `${secret}\0` },
  },
  secrets: [secret],
})

const pair = makePair()
credentialConformance({
  definition: mqtt,
  use: 'mqtt',
  good: { username: 'sluice', password: secret, ...pair.own },
  bad: {
    nothing: {},
    'a password without a user': { password: secret },
    'a certificate without a key': { certificate: pair.own.certificate },
    'a key without a certificate': { key: pair.own.key },
    'a path where PEM text is wanted': { certificate: './client.pem', key: './client.key' },
  },
  failing: {
    'a key of another certificate': () => ({ certificate: pair.own.certificate, key: pair.other.key }),
    'a key that is none': () => ({ certificate: pair.own.certificate, key: `-----BEGIN PRIVATE KEY-----\n${secret}` }),
  },
  secrets: [secret, pair.own.key, pair.other.key],
})

it('sends a bearer token as RFC 6750 has it, or under a scheme of its own', async () => {
  assert.deepEqual(await headersOf(bearer, { token: 't' }), { authorization: 'Bearer t' })
  assert.deepEqual(await headersOf(bearer, { token: 't', scheme: 'Splunk' }), { authorization: 'Splunk t' })
})

it('sends user and password as RFC 7617 has it, in UTF-8', async () => {
  // The example of RFC 7617 §2.1.
  assert.deepEqual(await headersOf(basic, { username: 'test', password: '123£' }), {
    authorization: 'Basic dGVzdDoxMjPCow==',
  })
})

it('says which file form to write where a path stands instead of a certificate', () => {
  const { error } = mqtt.settings.safeParse({ certificate: './client.pem', key: pair.own.key })
  assert.match(String(error?.issues[0]?.message), /write \$\{file:client\.pem\}/)
})

it('has each type once', () => {
  const types = credentials.map(({ type }) => type)
  assert.deepEqual(types.toSorted(), ['aws-default', 'aws-keys', 'aws-role', 'basic', 'bearer', 'mqtt'])
})

async function headersOf(definition: typeof bearer | typeof basic, settings: object) {
  const context = { log: keepLines(), signal: new AbortController().signal }
  const credential: Credential = await definition.open(definition.settings.parse(settings) as never, context)
  return credential.use === 'http' ? credential.headers() : {}
}

function makePair() {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-test-'))
  try {
    const make = (name: string) => {
      const files = ['-keyout', `${name}.key`, '-out', `${name}.pem`]
      const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
      execFileSync('openssl', ['req', '-x509', ...curve, ...files, '-subj', `/CN=${name}`], {
        cwd: folder,
        stdio: 'ignore',
      })
      const text = (file: string) => readFileSync(join(folder, file), 'utf8')
      return { certificate: text(`${name}.pem`), key: text(`${name}.key`) }
    }
    return { own: make('own'), other: make('other') }
  } finally {
    rmSync(folder, { recursive: true })
  }
}
