import { z } from 'zod'
import type { Credential } from '../core/credential.ts'
import { defineForwarder } from '../core/forwarder.ts'
import { delivered, type Outcome } from '../core/outcome.ts'
import { Redactor } from '../core/redactor.ts'
import { duration } from '../core/units.ts'
import { outcomeOfAwsEntry, outcomeOfAwsError } from './aws-errors.ts'
import { forAll, rejected, unanswered } from './outcomes.ts'
import { sendRequests } from './requests.ts'
import { sqsBytes, type SqsEntry, sqsEntry, sqsWith } from './sqs-entry.ts'

/** Entries of one request (API_SendMessageBatch). */
const mostEntries = 10

const settings = z.strictObject({
  queueUrl: z.url({ protocol: /^https?$/ }).refine((url) => new URL(url).pathname.length > 1, 'must name a queue'),
  /** By default the one in `queueUrl`. */
  region: z
    .string()
    .regex(/^[a-z0-9-]{1,64}$/, 'must be the name of a region, such as eu-west-1')
    .exactOptional(),
  /** Where requests go; by default the host of `queueUrl`. */
  endpoint: z.url({ protocol: /^https?$/ }).exactOptional(),
  /** For one request. SQS answers within a second; below the 60 s after which delivery/ breaks a send off. */
  timeout: duration('10s').refine((ms) => ms >= 100 && ms <= 50_000, 'must be between 100ms and 50s'),
})

/** The kind `sqs`: an Amazon SQS queue, standard or FIFO, or something that speaks like one. */
export const sqs = defineForwarder({
  kind: 'sqs',
  summary: 'Sends messages to an Amazon SQS queue, ten to a request.',
  credentials: ['aws-keys', 'aws-role', 'aws-default'],
  credentialRequired: true,
  settings,
  with: sqsWith,
  limits: { messages: mostEntries, bytes: sqsBytes },
  examine({ queueUrl, region }) {
    if (region !== undefined || regionOf(queueUrl) !== undefined) return []
    return [{ path: 'queueUrl', message: 'no region can be read from this url; write region beside it' }]
  },
  async open({ queueUrl, region, endpoint, timeout }, { credential }) {
    const fifo = new URL(queueUrl).pathname.endsWith('.fifo')
    const { keys, scrub } = keysOf(credential)
    const { SendMessageBatchCommand, SQSClient } = await import('@aws-sdk/client-sqs')
    const client = new SQSClient({
      // Said here, so that nothing in the environment or in ~/.aws can send the messages elsewhere.
      region: region ?? regionOf(queueUrl) ?? 'us-east-1',
      endpoint: endpoint ?? new URL(queueUrl).origin,
      credentials: keys,
      // delivery/ decides when to try again.
      maxAttempts: 1,
      // The signature covers the body already; and a far side that gives no MD5 would get each message again and again.
      md5: false,
    })

    async function request(entries: readonly FitEntry[], signal: AbortSignal): Promise<readonly Outcome[]> {
      const command = new SendMessageBatchCommand({
        QueueUrl: queueUrl,
        Entries: entries.map(({ entry }, index) => ({ ...entry, Id: String(index) })),
      })
      const late = AbortSignal.timeout(timeout)
      try {
        const answer = await client.send(command, { abortSignal: AbortSignal.any([signal, late]) })
        const failures = new Map(answer.Failed?.map((failure) => [failure.Id, failure]))
        const successes = new Set(answer.Successful?.map(({ Id }) => Id))
        return entries.map((_, index): Outcome => {
          const failure = failures.get(String(index))
          if (failure !== undefined) return scrubbed(outcomeOfAwsEntry(failure), scrub)
          return successes.has(String(index)) ? delivered : unanswered('SQS said nothing about this message')
        })
      } catch (error) {
        const brokenOff = signal.aborted ? 'the send was broken off' : late.aborted && `no answer within ${timeout} ms`
        const outcome = scrubbed(brokenOff === false ? outcomeOfAwsError(error) : unanswered(brokenOff), scrub)
        return forAll(outcome, entries.length)
      }
    }

    return {
      async send(batch, signal, arrived) {
        const made = batch.map((item) => sqsEntry(item, fifo))
        return sendRequests({
          count: batch.length,
          groups: cutRequests(made),
          settled: new Map(made.flatMap((one, index) => ('refused' in one ? [[index, rejected(one.refused)]] : []))),
          // In order, for the sake of FIFO queues; a batch seldom needs a second request.
          parallel: 1,
          arrived,
          giveUpAfter: 1,
          request: (indexes) =>
            request(
              indexes.flatMap((index) => fit(made[index])),
              signal,
            ),
        })
      },
      // No check: the rights to look at a queue and to send to it are two, and most credentials have the second only.
      // delivery/ finds out with a batch.
      async close() {
        client.destroy()
      },
    }
  },
})

type FitEntry = Extract<SqsEntry, { readonly entry: unknown }>

function fit(made: SqsEntry | undefined): readonly FitEntry[] {
  return made !== undefined && 'entry' in made ? [made] : []
}

/** Cuts entries into requests by what they weigh with base64 and attributes, which delivery/ doesn't know. */
function cutRequests(made: readonly SqsEntry[]): readonly (readonly number[])[] {
  const requests: number[][] = []
  let bytes = Infinity
  for (const [index, one] of made.entries()) {
    if ('refused' in one) continue
    const last = requests.at(-1)
    if (last === undefined || last.length >= mostEntries || bytes + one.bytes > sqsBytes) {
      requests.push([index])
      bytes = one.bytes
    } else {
      last.push(index)
      bytes += one.bytes
    }
  }
  return requests
}

/** The region that an AWS host name holds: `sqs.eu-west-1.amazonaws.com`, also FIPS, dual-stack, VPC and the oldest form. */
export function regionOf(queueUrl: string): string | undefined {
  const labels = new URL(queueUrl).hostname.split('.')
  if (!/\.(?:amazonaws\.com(?:\.cn)?|api\.aws|api\.amazonwebservices\.com\.cn)$/.test(`.${labels.join('.')}`)) {
    return undefined
  }
  return labels.find((label) => /^[a-z]{2,3}(?:-[a-z]+)+-\d+$/.test(label))
}

/** The keys of an AWS credential, and a way to take the latest of them out of texts. */
function keysOf(credential: Credential | undefined) {
  if (credential?.use !== 'aws') throw new TypeError('a worker of kind sqs needs an AWS credential')
  let redactor = new Redactor()
  return {
    scrub: (text: string) => redactor.scrub(text),
    keys: async () => {
      const keys = await credential.keys()
      redactor = new Redactor()
      redactor.add(keys.secretAccessKey)
      if (keys.sessionToken !== undefined) redactor.add(keys.sessionToken)
      return keys
    },
  }
}

function scrubbed(outcome: Outcome, scrub: (text: string) => string): Outcome {
  return outcome.kind === 'delivered' ? outcome : { ...outcome, reason: scrub(outcome.reason) }
}
