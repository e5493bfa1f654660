import { z } from 'zod'
import { parsedJson } from '../../core/parsed-json.ts'

/** What an authorizer has answered. `malformed` names the field and what it should be, and holds no value. */
export type Answer =
  | ({ readonly kind: 'yes' } & AuthorizerAnswer)
  | { readonly kind: 'no' }
  | { readonly kind: 'malformed'; readonly field: string; readonly problem: string }

export interface AuthorizerAnswer {
  readonly principalId: string
  /** Policy documents: JSON objects, not looked into yet. */
  readonly policyDocuments: readonly unknown[]
  readonly disconnectAfterInSeconds: number
  readonly refreshAfterInSeconds: number
}

/** How much of an answer is read: ten policy documents are 20,480 characters. */
export const maxAnswer = 65_536

/** AWS: policy documents, and the length of each. */
const maxDocuments = 10
const maxDocument = 2_048

const seconds = z
  .int('must be a whole number of seconds')
  .min(300, 'must be at least 300')
  .max(86_400, 'must be at most 86400')

const policyDocument = z.unknown().transform((value, context) => {
  const complain = (message: string) => {
    context.addIssue({ code: 'custom', message })
    return z.NEVER
  }
  const text = typeof value === 'string' ? value : JSON.stringify(value)
  if (text.length > maxDocument) return complain(`must have at most ${maxDocument} characters`)
  const document = typeof value === 'string' ? parsedJson(value) : value
  return isObject(document) ? document : complain('must be a policy document')
})

const yes = z.object({
  principalId: z.string('must be a text').regex(/^[a-zA-Z0-9]{1,128}$/, 'must have 1 to 128 letters and digits'),
  policyDocuments: z
    .array(policyDocument, 'must be a list')
    .max(maxDocuments, `must have at most ${maxDocuments} entries`),
  disconnectAfterInSeconds: seconds,
  refreshAfterInSeconds: seconds,
})

/**
 * Reads an answer (AWS IoT, "Defining your Lambda function"): JSON of an object, or of a string that holds the JSON of one, as
 * in 2019. Further fields, such as the `context` of those days, are ignored. Where `isAuthenticated` is false nothing else matters.
 */
export function readAnswer(text: string): Answer {
  if (text.length > maxAnswer) return malformed('', `has more than ${maxAnswer} characters`)
  let value = parsedJson(text)
  if (typeof value === 'string') value = parsedJson(value)
  if (!isObject(value)) return malformed('', 'is not an object')
  const authenticated = Object.hasOwn(value, 'isAuthenticated') ? value['isAuthenticated'] : undefined
  if (authenticated === false) return { kind: 'no' }
  if (authenticated !== true) return malformed('isAuthenticated', 'must be true or false')
  const result = yes.safeParse(value)
  if (result.success) return { kind: 'yes', ...result.data }
  const [issue] = result.error.issues
  return malformed(issue?.path.join('.') ?? '', issue?.message ?? 'is not valid')
}

function malformed(field: string, problem: string): Answer {
  return { kind: 'malformed', field, problem }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
