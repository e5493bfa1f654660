import { z } from 'zod'
import { type AwsKeys, defineCredential } from '../core/credential.ts'
import { SluiceError } from '../core/errors.ts'
import { Redactor } from '../core/redactor.ts'
import { duration } from '../core/units.ts'
import { awsKeysSettings } from './aws-keys.ts'
import { openDefaultChain } from './default-chain.ts'
import { refreshKeys, type TemporaryKeys } from './refreshed-keys.ts'
import { saidBy } from './said-by.ts'

/** A hanging STS must not hold a batch for ever; AWS answers within a second. */
const timeoutMs = 10_000

/** STS's own bounds of DurationSeconds; the role may allow less (API_AssumeRole). */
const session = { least: 900_000, most: 43_200_000 } as const

/** The credential type `aws-role`: temporary keys of a role, by STS AssumeRole, renewed before they end. */
export const awsRole = defineCredential({
  type: 'aws-role',
  summary: 'A role that is assumed at AWS STS; its temporary keys are renewed before they end.',
  settings: z.strictObject({
    roleArn: z
      .string()
      .regex(
        /^arn:aws[a-z-]*:iam::\d{12}:role\/[\x21-\x7e]{1,512}$/,
        'must look like arn:aws:iam::123456789012:role/NAME',
      ),
    /** Shows in CloudTrail as who acted; `sluice-<worker>` by default. */
    sessionName: z
      .string()
      .regex(/^[\w+=,.@-]{2,64}$/, 'must have 2 to 64 letters, digits or any of _+=,.@-')
      .exactOptional(),
    externalId: z
      .string()
      .regex(/^[\w+=,.@:/-]{2,1224}$/, 'must have 2 to 1224 letters, digits or any of _+=,.@:/-')
      .exactOptional(),
    duration: duration('1h').refine(
      (ms) => ms >= session.least && ms <= session.most,
      'must be between 15m and 12h, and no more than the role allows',
    ),
    /** Of STS; by default one of the partition that the role is in. */
    region: z.string().min(1).exactOptional(),
    /** Of STS, where it isn't AWS's own. */
    endpoint: z.url({ protocol: /^https?$/ }).exactOptional(),
    /** Who assumes the role: keys, or `default` for the machine's own credential. */
    keys: z.union([z.literal('default'), awsKeysSettings], {
      error: 'must be "default", or a mapping with accessKeyId and secretAccessKey',
    }),
  }),
  async open(settings, { log, worker }) {
    const region = settings.region ?? regionOf(settings.roleArn)
    const base = settings.keys
    const baseKeys = base === 'default' ? await openDefaultChain(region) : async () => base
    const sessionName = settings.sessionName ?? ['sluice', worker].filter(Boolean).join('-').slice(0, 64)
    const obtain = () => assumeRole({ ...settings, region, sessionName, baseKeys })
    return { use: 'aws', keys: refreshKeys({ obtain, log }) }
  },
})

interface Assumption {
  readonly roleArn: string
  readonly sessionName: string
  readonly externalId?: string
  /** Milliseconds. */
  readonly duration: number
  readonly region: string
  readonly endpoint?: string
  readonly baseKeys: () => Promise<AwsKeys>
}

async function assumeRole(assumption: Assumption): Promise<TemporaryKeys> {
  const { roleArn, sessionName, externalId, region, endpoint, baseKeys } = assumption
  const { AssumeRoleCommand, STSClient } = await import('@aws-sdk/client-sts')
  const keys = await baseKeys()
  const client = new STSClient({
    region,
    credentials: keys,
    // delivery/ repeats what needs the keys; a second loop below it would only hide how long it takes.
    maxAttempts: 1,
    ...(endpoint !== undefined && { endpoint }),
  })
  try {
    const command = new AssumeRoleCommand({
      RoleArn: roleArn,
      RoleSessionName: sessionName,
      DurationSeconds: Math.floor(assumption.duration / 1000),
      ...(externalId !== undefined && { ExternalId: externalId }),
    })
    const { Credentials } = await client.send(command, { abortSignal: AbortSignal.timeout(timeoutMs) })
    const { AccessKeyId, SecretAccessKey, SessionToken, Expiration } = Credentials ?? {}
    if (!AccessKeyId || !SecretAccessKey || !SessionToken || !Expiration) throw new Error('STS answered without keys')
    return {
      accessKeyId: AccessKeyId,
      secretAccessKey: SecretAccessKey,
      sessionToken: SessionToken,
      expiration: Expiration,
    }
  } catch (error) {
    const redactor = new Redactor()
    redactor.add(keys.secretAccessKey)
    if (keys.sessionToken !== undefined) redactor.add(keys.sessionToken)
    const message = `the role ${roleArn} could not be assumed: ${redactor.scrub(saidBy(error))}`
    throw new SluiceError('CREDENTIAL_FAILED', message, { cause: error })
  } finally {
    client.destroy()
  }
}

/** A region whose STS knows the role: partitions (China, GovCloud) don't know each other. */
function regionOf(roleArn: string): string {
  const partition = roleArn.split(':')[1] ?? ''
  const regions = new Map([
    ['aws-cn', 'cn-north-1'],
    ['aws-us-gov', 'us-gov-west-1'],
  ])
  return regions.get(partition) ?? 'us-east-1'
}
