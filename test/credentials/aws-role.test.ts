import assert from 'node:assert/strict'
import { after, it } from 'node:test'
import { awsRole } from '../../src/credentials/aws-role.ts'
import { SluiceError } from '../../src/core/errors.ts'
import { credentialConformance } from '../conformance/credential.ts'
import { freePort, type Scope } from '../support/cleanup.ts'
import { keepLines } from '../support/logs.ts'
import { startTestSts } from '../support/sts.ts'

const user = { accessKeyId: 'AKIAUSER', secretAccessKey: 'the-secret-of-the-user' }
const roleArn = 'arn:aws:iam::123456789012:role/alerts'
const guarded = 'arn:aws:iam::123456789012:role/guarded'
const trust = [
  { roleArn, by: user.accessKeyId },
  { roleArn: guarded, by: user.accessKeyId, externalId: 'ours' },
]

const sts = await startTestSts({ after: after as Scope['after'] }, { users: [user], trust })
const nobody = await freePort()

const settings = (more: object = {}) => ({ roleArn, endpoint: sts.url, keys: user, ...more })

credentialConformance({
  definition: awsRole,
  use: 'aws',
  good: settings(),
  bad: {
    'a role that is no ARN': { roleArn: 'alerts', keys: user },
    'a session that is too short': { roleArn, keys: user, duration: '5m' },
    'a session name with a space': { roleArn, keys: user, sessionName: 'a b' },
    'no keys': { roleArn },
    'a secret with a line break': { roleArn, keys: { ...user, secretAccessKey: 'the-secret-of-the-user\n' } },
  },
  failing: {
    'a wrong secret': () => settings({ keys: { ...user, secretAccessKey: 'another-secret' } }),
    'an unknown access key': () => settings({ keys: { ...user, accessKeyId: 'AKIANOBODY' } }),
    'a role that we may not assume': () => settings({ roleArn: `${roleArn}-else` }),
    'an STS that is away': () => settings({ endpoint: `http://127.0.0.1:${nobody}` }),
  },
  secrets: [user.secretAccessKey, 'another-secret'],
})

async function openRole(more: object = {}, log = keepLines()) {
  const signal = new AbortController().signal
  const credential = await awsRole.open(awsRole.settings.parse(settings(more)), { log, signal, worker: 'alerts' })
  assert.equal(credential.use, 'aws')
  if (credential.use !== 'aws') throw new Error('never')
  return credential
}

it('gives the keys that STS issued, in a session named after the worker', async () => {
  const keys = await (await openRole({ duration: '30m' })).keys()
  assert.deepEqual(keys, sts.issued.at(-1))
  assert.equal(sts.assumed.at(-1)?.['RoleSessionName'], 'sluice-alerts')
  assert.equal(sts.assumed.at(-1)?.['DurationSeconds'], '1800')
})

it('shows the external id, without which the role refuses', async () => {
  await (await openRole({ roleArn: guarded, externalId: 'ours', sessionName: 'mine' })).keys()
  assert.equal(sts.assumed.at(-1)?.['RoleSessionName'], 'mine')
  await assert.rejects((await openRole({ roleArn: guarded })).keys(), /AccessDenied/)
})

it('asks once for many, and not again while the keys hold', async () => {
  const credential = await openRole()
  const before = sts.assumed.length
  const keys = await Promise.all([1, 2, 3, 4].map(() => credential.keys()))
  assert.equal(new Set(keys.map(({ accessKeyId }) => accessKeyId)).size, 1)
  await credential.keys()
  assert.equal(sts.assumed.length, before + 1)
})

it('keeps the cause of a failure, so that a forwarder can tell refused from away', async () => {
  const away = await openRole({ endpoint: `http://127.0.0.1:${nobody}` })
  await assert.rejects(away.keys(), (error: unknown) => {
    assert.ok(error instanceof SluiceError && error.cause instanceof Error)
    assert.equal((error.cause as NodeJS.ErrnoException).code, 'ECONNREFUSED')
    return true
  })
})
