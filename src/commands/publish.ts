import { join } from 'node:path'
import type { Command } from 'commander'
import { SluiceError, messageOf } from '../core/errors.ts'
import type { Trace } from '../app/tracer.ts'
import { tryOutTokenFile } from '../app/try-out.ts'
import { ask, readStandardInput, readToken, readWithoutSecrets } from './context.ts'
import { paint } from './output.ts'

interface Options {
  readonly qos: string
  readonly retain?: true
  readonly id?: string
  readonly tokenFile?: string
  readonly url?: string
  readonly wait: string
  readonly json?: true
}

/** Bytes of standard input; the door has its own limit of a payload, and says so. */
const maxInput = 16 * 1024 * 1024

export function addPublish(program: Command): void {
  program
    .command('publish <topic> [payload]')
    .description('publish one message through the HTTP door of a running ingest and show what comes out of the workers')
    .option('--qos <0|1>', 'as the door takes it; durable either way', '1')
    .option('--retain', 'ask for it to be retained')
    .option('--id <id>', 'your own id of the message')
    .option('--token-file <file>', 'whose token to use; the first run’s by default')
    .option('--url <url>', 'the door; the one in sluice.yaml by default')
    .option('--wait <seconds>', 'how long to wait for a worker', '5')
    .option('--json', 'print one JSON document')
    .addHelpText('after', '\nWithout a payload it is read from standard input.')
    .action(async (topic: string, payload: string | undefined, options: Options) => {
      const { settings } = await readWithoutSecrets(program)
      const token = await readToken(options.tokenFile ?? join(settings.data, tryOutTokenFile))
      const http = settings.listen.http
      const base =
        options.url ??
        (http === undefined
          ? undefined
          : `http://${http.host.includes(':') ? `[${http.host}]` : http.host}:${http.port}`)
      if (base === undefined) throw new SluiceError('WRONG_USE', 'sluice.yaml has no listen.http; say --url')
      const body = payload === undefined ? await readStandardInput(maxInput) : Buffer.from(payload)
      const id = await post(base, token, topic, body, options)
      const answers = await traces(program, id, Number(options.wait) * 1000)
      if (options.json) return console.log(JSON.stringify({ traceId: id, deliveries: answers }, undefined, 2))
      console.log(`${paint('green', 'accepted')}, durable: ${id}`)
      for (const answer of answers) console.log(lineOf(answer))
      if (answers.length === 0)
        console.log(
          'no worker of that process has answered for it: no rule took it, or its workers run elsewhere (see their logs)',
        )
    })
}

async function post(base: string, token: string, topic: string, body: Buffer, options: Options): Promise<string> {
  const path = topic.split('/').map(encodeURIComponent).join('/')
  const query = new URLSearchParams({ qos: options.qos, ...(options.retain && { retain: 'true' }) })
  const headers = {
    authorization: `Bearer ${token}`,
    ...(options.id !== undefined && { 'idempotency-key': options.id }),
  }
  const response = await fetch(`${base}/topics/${path}?${query}`, {
    method: 'POST',
    headers,
    body: new Uint8Array(body),
  }).catch((error: unknown) => {
    const cause = error instanceof Error && error.cause !== undefined ? messageOf(error.cause) : messageOf(error)
    throw new SluiceError(
      'NOT_RUNNING',
      `nobody answers at ${base} (${cause}); start Sluice with "npm start", or say --url`,
    )
  })
  const answer = (await response.json().catch(() => ({}))) as { message?: string; traceId?: string }
  if (response.status !== 200 || answer.traceId === undefined) {
    throw new SluiceError('LIMIT_EXCEEDED', `the door answered ${response.status}: ${answer.message ?? 'nothing more'}`)
  }
  return answer.traceId
}

/**
 * A message may go to several workers, and the last answer says nothing of those to come: after the first, a moment more.
 */
async function traces(program: Command, id: string, waitMs: number): Promise<readonly Trace[]> {
  const path = (ms: number) => `/trace/${encodeURIComponent(id)}?waitMs=${ms}`
  const first = (await ask(program, 'GET', path(waitMs)).catch(() => [])) as readonly Trace[]
  if (first.length === 0) return first
  await new Promise((resolve) => setTimeout(resolve, 250))
  return (await ask(program, 'GET', path(0)).catch(() => first)) as readonly Trace[]
}

function lineOf({ worker, kind, rule, outcome, reason, preview }: Trace): string {
  const head = `  ${paint('cyan', worker)} (${kind}), by rule ${rule}: `
  return outcome === 'delivered'
    ? `${head}${paint('green', 'delivered')} ${preview}`
    : `${head}${paint('red', outcome)} ${reason ?? ''}`
}
