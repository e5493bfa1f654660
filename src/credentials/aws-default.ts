import { z } from 'zod'
import { defineCredential } from '../core/credential.ts'
import { openDefaultChain } from './default-chain.ts'

/** The credential type `aws-default`: whatever the machine is, by the AWS SDK's default chain. */
export const awsDefault = defineCredential({
  type: 'aws-default',
  summary: "The machine's own AWS credential: environment, shared files, web identity, container or instance role.",
  settings: z.strictObject({
    /** Where the chain asks STS, if it has to. */
    region: z.string().min(1).default('us-east-1'),
  }),
  async open({ region }) {
    // Not asked here: an instance whose metadata service is late must not count as a credential that failed for good.
    return { use: 'aws', keys: await openDefaultChain(region) }
  },
})
