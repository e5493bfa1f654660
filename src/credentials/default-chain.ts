import type { AwsKeys } from '../core/credential.ts'
import { SluiceError } from '../core/errors.ts'
import { saidBy } from './said-by.ts'

/**
 * The AWS SDK's own search for credentials: environment, shared files, web identity, container, instance. It keeps what it
 * found until shortly before it expires. The chain has no package of its own that we depend on; every client brings it.
 */
export async function openDefaultChain(region: string): Promise<() => Promise<AwsKeys>> {
  const { STSClient } = await import('@aws-sdk/client-sts')
  const client = new STSClient({ region })
  return async () => {
    try {
      return await client.config.credentials()
    } catch (error) {
      const message = `the AWS default chain found no credential: ${saidBy(error)}`
      throw new SluiceError('CREDENTIAL_FAILED', message, { cause: error })
    }
  }
}
