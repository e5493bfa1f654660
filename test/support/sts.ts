import { randomBytes } from 'node:crypto'
import type { AwsKeys } from '../../src/core/credential.ts'
import type { Scope } from './cleanup.ts'
import { type Answer, startHttpTarget } from './http-target.ts'
import { verifySignature } from './sigv4.ts'

export interface TestSts {
  readonly url: string
  /** The form fields of each AssumeRole that was granted. */
  readonly assumed: Readonly<Record<string, string>>[]
  /** Keys handed out so far, newest last. */
  readonly issued: (AwsKeys & { readonly expiration: Date })[]
  /** Answers instead of the ordinary one while it is set. */
  fault: Answer | undefined
  readonly stop: () => Promise<void>
}

/**
 * A test double of AWS STS: AssumeRole, as a form that is answered in XML. fauxqs has no AssumeRole and checks no
 * signatures; this one checks them, the role's trust (who may assume which role, with which external id) and hands out keys of its own.
 */
export async function startTestSts(
  scope: Scope,
  options: {
    readonly users: readonly AwsKeys[]
    /** What may be assumed: role, by which access key id, with which external id. */
    readonly trust: readonly { readonly roleArn: string; readonly by: string; readonly externalId?: string }[]
    /** How long the keys hold; by default as asked for. */
    readonly lifetimeMs?: () => number
  },
): Promise<TestSts> {
  const target = await startHttpTarget(scope)
  const sts: TestSts = { url: target.url, assumed: [], issued: [], fault: undefined, stop: target.stop }
  target.answer = async (request) => {
    if (sts.fault !== undefined) return sts.fault
    const body = request.body.toString('utf8')
    const verified = await verifySignature({ ...request, body }, (id) =>
      options.users.find(({ accessKeyId }) => accessKeyId === id),
    )
    if ('code' in verified) return failure(403, verified.code, 'The security token included in the request is invalid.')
    const form = Object.fromEntries(new URLSearchParams(body))
    if (verified.service !== 'sts' || form['Action'] !== 'AssumeRole') return failure(400, 'InvalidAction', 'no')
    const trusted = options.trust.some(
      ({ roleArn, by, externalId }) =>
        roleArn === form['RoleArn'] && by === verified.keys.accessKeyId && externalId === form['ExternalId'],
    )
    if (!trusted) {
      return failure(403, 'AccessDenied', `User is not authorized to perform: sts:AssumeRole on ${form['RoleArn']}`)
    }
    const lifetime = options.lifetimeMs?.() ?? Number(form['DurationSeconds']) * 1000
    const keys = {
      accessKeyId: `ASIA${randomBytes(8).toString('hex').toUpperCase()}`,
      secretAccessKey: randomBytes(20).toString('hex'),
      sessionToken: randomBytes(64).toString('base64'),
      expiration: new Date(Date.now() + lifetime),
    }
    sts.assumed.push(form)
    sts.issued.push(keys)
    return { status: 200, headers: { 'content-type': 'text/xml' }, body: granted(keys, form['RoleArn'] ?? '') }
  }
  return sts
}

function granted(keys: AwsKeys & { readonly expiration: Date }, roleArn: string): string {
  return `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult>
  <AssumedRoleUser><AssumedRoleId>AROA:s</AssumedRoleId><Arn>${roleArn}</Arn></AssumedRoleUser>
  <Credentials><AccessKeyId>${keys.accessKeyId}</AccessKeyId><SecretAccessKey>${keys.secretAccessKey}</SecretAccessKey>
  <SessionToken>${keys.sessionToken}</SessionToken><Expiration>${keys.expiration.toISOString()}</Expiration></Credentials>
  </AssumeRoleResult><ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></AssumeRoleResponse>`
}

function failure(status: number, code: string, message: string): Answer {
  const body = `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>${code}</Code>
  <Message>${message}</Message></Error><RequestId>r</RequestId></ErrorResponse>`
  return { status, headers: { 'content-type': 'text/xml' }, body }
}
