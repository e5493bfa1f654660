import { SluiceError } from '../core/errors.ts'
import type { Outcome } from '../core/outcome.ts'
import { isCertificateError } from './certificates.ts'
import { blocked, failed, rejected, unanswered } from './outcomes.ts'
import { saidBy } from './text.ts'

/** "Slow down" by its several names. */
const throttled =
  /^(?:Throttl\w*|RequestThrottled\w*|RequestLimitExceeded|TooManyRequests\w*|SlowDown|PriorRequestNotComplete|Kms\.?Throttl\w*|ServiceUnavailable\w*)$/i

/**
 * What someone has to put right: the credential, its rights, the queue, the key that encrypts it, the clock. AWS Common
 * Errors, and the errors of API_SendMessageBatch.
 */
const needsSomeone =
  /^(?:AccessDenied\w*|NotAuthorized\w*|AuthFailure|Unauthorized\w*|InvalidClientTokenId|InvalidAccessKeyId|UnrecognizedClient\w*|SignatureDoesNotMatch|InvalidSignature\w*|IncompleteSignature\w*|MissingAuthenticationToken\w*|ExpiredToken\w*|RequestExpired|OptInRequired|InvalidSecurity|InvalidAddress|NonExistentQueue|QueueDoesNotExist|QueueDeletedRecently|UnsupportedOperation|RegionDisabled\w*|KmsAccessDenied|KmsDisabled|KmsInvalidState|KmsInvalidKeyUsage|KmsNotFound|KmsOptInRequired)$/i

/** What an answer is about, however it was told. */
interface Fault {
  readonly code: string
  readonly reason: string
  /** The request's fault, as AWS sees it. */
  readonly sender: boolean
  readonly status?: number
}

/** What came of a request that the AWS SDK threw for. */
export function outcomeOfAwsError(error: unknown): Outcome {
  if (error instanceof SluiceError && error.code === 'CREDENTIAL_FAILED') return outcomeOfCredential(error)
  if (isCertificateError(error)) return blocked(saidBy(error))
  if (!(error instanceof Error)) return unanswered(saidBy(error))
  if (error.name === 'CredentialsProviderError') return blocked(saidBy(error))
  const { $fault, $metadata, Code } = error as AwsError
  // Without a status nothing was answered: no connection, a timeout, an abort.
  if ($fault === undefined || $metadata?.httpStatusCode === undefined) return unanswered(saidBy(error))
  return outcomeOf({
    code: error.name,
    reason: sentence(Code ?? error.name, error.message),
    sender: $fault === 'client',
    status: $metadata.httpStatusCode,
  })
}

/** What became of one entry of a batch that was answered as a whole. */
export function outcomeOfAwsEntry(entry: {
  readonly Code: string | undefined
  readonly Message?: string | undefined
  readonly SenderFault: boolean | undefined
}): Outcome {
  const code = entry.Code ?? 'unknown'
  return outcomeOf({ code, reason: sentence(code, entry.Message ?? ''), sender: entry.SenderFault === true })
}

function outcomeOf({ code, reason, sender, status }: Fault): Outcome {
  // The query protocol calls it AWS.SimpleQueueService.NonExistentQueue, JSON com.amazonaws.sqs#QueueDoesNotExist.
  const bare =
    code
      .split(/[#]/)
      .at(-1)
      ?.replace(/^(?:AWS\.SimpleQueueService|AWS|KMS)\./, '') ?? code
  if (throttled.test(bare) || status === 429 || status === 503 || status === 408) return unanswered(reason)
  if (needsSomeone.test(bare) || /^KMS\./i.test(code)) return blocked(reason)
  if (status !== undefined && (status < 400 || [401, 403, 404].includes(status))) return blocked(reason)
  return sender ? rejected(reason) : failed(reason)
}

/** A credential that can't be had is as good as none: nothing was said about any message. */
function outcomeOfCredential(error: SluiceError): Outcome {
  const cause = error.cause === undefined ? unanswered('') : outcomeOfAwsError(error.cause)
  const reason = saidBy(error)
  return cause.kind === 'retry' ? unanswered(reason) : blocked(reason)
}

interface AwsError extends Error {
  readonly $fault?: 'client' | 'server'
  readonly $metadata?: { readonly httpStatusCode?: number }
  readonly Code?: string
}

/** The first line only: to a wrong signature AWS appends the request as it understood it, session token and all. */
function sentence(code: string, message: string): string {
  const [line = ''] = message.trim().split('\n', 1)
  return saidBy(line === '' ? code : `${code}: ${line}`)
}
