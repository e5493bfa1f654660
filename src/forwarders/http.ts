import type { Credential } from '../core/credential.ts'
import { SluiceError } from '../core/errors.ts'
import { defineForwarder } from '../core/forwarder.ts'
import type { Outcome } from '../core/outcome.ts'
import { Redactor } from '../core/redactor.ts'
import { isCertificateError } from './certificates.ts'
import { outcomeOfAnswer } from './http-answer.ts'
import { createExchange } from './http-exchange.ts'
import { cutIntoRequests, httpRequest } from './http-request.ts'
import { type HttpItem, type HttpSettings, httpSettings, httpWith } from './http-settings.ts'
import { blocked, forAll, unanswered } from './outcomes.ts'
import { sendRequests } from './requests.ts'
import { saidBy } from './text.ts'

/** Addresses that no other machine hears. */
const loopback = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/

/** The kind `http`: a request for each message, or for several together. */
export const http = defineForwarder({
  kind: 'http',
  summary: 'Sends messages to a fixed URL, one or several to a request.',
  credentials: ['bearer', 'basic'],
  settings: httpSettings,
  with: httpWith,
  // As an envelope; how many go into one request is the worker's to say.
  limits: { messages: 256, bytes: 1_048_576 },
  examine({ url, tls }) {
    if (tls === undefined || url.startsWith('https:')) return []
    return [{ path: 'tls', message: 'has no use with this url; write https://' }]
  },
  async open(settings, { credential }) {
    const { url, method, timeout, maxResponse, maxRetryAfter, parallel, tls } = settings
    complainAboutClearText(settings, credential)
    const { exchange, close } = createExchange({
      method,
      timeout,
      maxResponse,
      secure: new URL(url).protocol === 'https:',
      ...(tls?.ca !== undefined && { ca: tls.ca }),
      ...(tls?.servername !== undefined && { servername: tls.servername }),
    })

    async function request(items: readonly [HttpItem, ...HttpItem[]], signal: AbortSignal): Promise<Outcome> {
      const redactor = new Redactor()
      try {
        const made = httpRequest(items, settings)
        const authorization = await headersOf(credential)
        // Some far sides quote in their answer what they were sent. Without the scheme, which is no secret.
        for (const value of Object.values(authorization)) redactor.add(value.slice(value.indexOf(' ') + 1))
        const headers = new Map([...made.headers, ...Object.entries(authorization)])
        const answer = await exchange({ ...made, headers }, signal)
        const templated = items[0].with.path !== undefined
        const outcome = outcomeOfAnswer(answer, { templated, maxRetryAfter, now: Date.now() })
        return scrubbed(outcome, redactor)
      } catch (error) {
        if (signal.aborted) return unanswered('the send was broken off')
        const reason = redactor.scrub(saidBy(error))
        const needsSomeone =
          isCertificateError(error) || (error instanceof SluiceError && error.code === 'CREDENTIAL_FAILED')
        return needsSomeone ? blocked(reason) : unanswered(reason)
      }
    }

    return {
      send(batch, signal, arrived) {
        return sendRequests({
          count: batch.length,
          groups: cutIntoRequests(batch, settings),
          parallel,
          arrived,
          // As many as are in flight at once: fewer could be a few messages that the far side chokes on.
          giveUpAfter: parallel,
          async request(indexes) {
            const [first, ...others] = indexes.flatMap((index) => batch[index] ?? [])
            if (first === undefined) return []
            return forAll(await request([first, ...others], signal), indexes.length)
          },
        })
      },
      async close() {
        close()
      },
    }
  },
})

async function headersOf(credential: Credential | undefined): Promise<Readonly<Record<string, string>>> {
  return credential?.use === 'http' ? credential.headers() : {}
}

/** A secret is not sent where others can read it, unless somebody says so. */
function complainAboutClearText({ url, insecure }: HttpSettings, credential: Credential | undefined): void {
  const { protocol, hostname } = new URL(url)
  if (credential === undefined || protocol === 'https:' || loopback.test(hostname) || insecure) return
  const message = `the credential would go to ${hostname} without TLS; write https://, or "insecure: true" if something else protects it`
  throw new SluiceError('CONFIG_INVALID', message)
}

function scrubbed(outcome: Outcome, redactor: Redactor): Outcome {
  return outcome.kind === 'delivered' ? outcome : { ...outcome, reason: redactor.scrub(outcome.reason) }
}
