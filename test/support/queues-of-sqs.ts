import { DeleteMessageCommand, type Message, ReceiveMessageCommand, SQSClient } from '@aws-sdk/client-sqs'
import { type FauxqsServer, startFauxqs } from 'fauxqs'
import type { AwsKeys, Credential } from '../../src/core/credential.ts'
import type { Scope } from './cleanup.ts'

/** The keys that tests use; fauxqs looks at none, the proxy in front of it does. */
export const testKeys: AwsKeys = { accessKeyId: 'AKIATEST', secretAccessKey: 'the-secret-of-the-tests' }

export function awsCredential(keys: AwsKeys | (() => Promise<AwsKeys>) = testKeys): Credential {
  return { use: 'aws', keys: typeof keys === 'function' ? keys : async () => keys }
}

export interface TestQueue {
  readonly queueUrl: string
  /** Receives and deletes messages until there are `count`. */
  readonly take: (count: number) => Promise<readonly Message[]>
  /** Messages that could be received now. */
  readonly size: () => number
  readonly delayed: () => number
}

export interface TestSqs {
  readonly url: string
  readonly queue: (name: string, attributes?: Readonly<Record<string, string>>) => TestQueue
}

/** A real fauxqs: SQS in this process, on a free port. */
export async function startTestSqs(scope: Scope): Promise<TestSqs> {
  const server: FauxqsServer = await startFauxqs({ port: 0, logger: false })
  scope.after(() => server.stop())
  const url = `http://127.0.0.1:${server.port}`
  const client = new SQSClient({ region: 'us-east-1', endpoint: url, credentials: testKeys, maxAttempts: 1 })
  scope.after(() => client.destroy())
  return {
    url,
    queue(name, attributes = {}) {
      server.createQueue(name, { attributes: { ...(name.endsWith('.fifo') && { FifoQueue: 'true' }), ...attributes } })
      const queueUrl = `${url}/000000000000/${name}`
      return {
        queueUrl,
        size: () => server.inspectQueue(name)?.messages.ready.length ?? -1,
        delayed: () => server.inspectQueue(name)?.messages.delayed.length ?? -1,
        async take(count) {
          const messages: Message[] = []
          for (let tries = 0; messages.length < count && tries < 20; tries += 1) {
            const command = new ReceiveMessageCommand({
              QueueUrl: queueUrl,
              MaxNumberOfMessages: 10,
              WaitTimeSeconds: 1,
              MessageAttributeNames: ['All'],
              MessageSystemAttributeNames: ['All'],
            })
            const received = (await client.send(command)).Messages ?? []
            messages.push(...received)
            // A FIFO queue holds the rest of a group back until then.
            for (const { ReceiptHandle } of received) {
              await client.send(new DeleteMessageCommand({ QueueUrl: queueUrl, ReceiptHandle }))
            }
          }
          return messages
        },
      }
    },
  }
}
