import assert from 'node:assert/strict'
import { it } from 'node:test'
import { run } from '../support/process.ts'

/** In a process of its own: the chain reads the environment, and remembers. */
const program = `
  const { awsDefault } = await import('./src/credentials/aws-default.ts')
  const { silent } = await import('./src/core/log.ts')
  const credential = await awsDefault.open(awsDefault.settings.parse({}), { log: silent, signal: new AbortController().signal })
  try {
    const { accessKeyId, secretAccessKey, sessionToken } = await credential.keys()
    console.log(JSON.stringify({ accessKeyId, secretAccessKey, sessionToken }))
  } catch (error) {
    console.log(error.code, error.message)
  }
`
/** Nothing of the machine that the test runs on may answer. */
const bare = {
  PATH: process.env['PATH'],
  HOME: '/nonexistent',
  AWS_EC2_METADATA_DISABLED: 'true',
}
const parameters = ['--input-type=module-typescript', '-e', program]

it('finds what the environment holds', async (t) => {
  const env = { ...bare, AWS_ACCESS_KEY_ID: 'AKIAENV', AWS_SECRET_ACCESS_KEY: 'secret', AWS_SESSION_TOKEN: 'token' }
  const process_ = run(t, process.execPath, parameters, { env })
  assert.equal(await process_.ended(), 0, process_.output())
  assert.deepEqual(JSON.parse(process_.output()), {
    accessKeyId: 'AKIAENV',
    secretAccessKey: 'secret',
    sessionToken: 'token',
  })
})

it('fails with CREDENTIAL_FAILED where there is nothing to find', async (t) => {
  const process_ = run(t, process.execPath, parameters, { env: bare })
  assert.equal(await process_.ended(), 0, process_.output())
  assert.match(process_.output(), /^CREDENTIAL_FAILED the AWS default chain found no credential/)
})
