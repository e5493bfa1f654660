import { existsSync } from 'node:fs'
import { join, relative } from 'node:path'
import { type Command, Option } from 'commander'
import { SluiceError, messageOf } from '../core/errors.ts'
import type { IngestStatus } from '../app/status.ts'
import type { Trace } from '../app/tracer.ts'
import { tryOutTokenFile } from '../app/try-out.ts'
import { ask, countOption, dataFolder, readStandardInput, readToken } from './context.ts'
import { paint } from './output.ts'

interface Options {
  readonly qos: string
  readonly retain?: true
  readonly id?: string
  readonly tokenFile?: string
  readonly url?: string
  readonly wait: number
  readonly json?: true
}

/** Bytes of standard input; the door has its own limit of a payload, and says so. */
const maxInput = 16 * 1024 * 1024

export function addPublish(program: Command): void {
  program
    .command('publish <topic> [payload]')
    .description('publish one message through the HTTP door of a running ingest and show what comes out of the workers')
    .addOption(new Option('--qos <0|1>', 'as the door takes it; durable either way').choices(['0', '1']).default('1'))
    .option('--retain', 'ask for it to be retained')
    .option('--id <id>', 'your own id of the message')
    .option('--token-file <file>', 'a file with the token to use; by default that of the first run’s identity')
    .option('--url <url>', 'the HTTP door; by default that of the Sluice that runs here')
    .option('--wait <seconds>', 'how long to wait for a worker', countOption, 5)
    .option('--json', 'print one JSON document')
    .addHelpText('after', '\nWithout a payload it is read from standard input.')
    .action(async (topic: string, payload: string | undefined, options: Options) => {
      const base = options.url ?? (await runningDoor(program))
      const token = await readToken(options.tokenFile ?? defaultTokenFile(await dataFolder(program)))
      const body = payload === undefined ? await readStandardInput(maxInput) : Buffer.from(payload)
      const id = await post(base, token, topic, body, options)
      const answers = await traces(program, id, options.wait * 1000)
      if (options.json) return console.log(JSON.stringify({ traceId: id, deliveries: answers }, undefined, 2))
      console.log(`${paint('green', 'accepted')}, durable: ${id}`)
      for (const answer of answers) console.log(lineOf(answer))
      if (answers.length === 0)
        console.log(
          `no worker here has answered for it within ${options.wait} s: no rule took it, or its workers run elsewhere (see their logs)`,
        )
    })
}

/** Where the running Sluice says that it listens. Throws SluiceError NOT_RUNNING. */
async function runningDoor(program: Command): Promise<string> {
  const { doors } = (await ask(program, 'GET', '/status')) as IngestStatus
  const door = doors.find((place) => place.startsWith('http'))
  if (door === undefined) throw new SluiceError('WRONG_USE', 'the running Sluice has no HTTP door; say --url')
  return door
}

/** Throws SluiceError where there has been no first run. */
function defaultTokenFile(data: string): string {
  const file = join(data, tryOutTokenFile)
  if (existsSync(file)) return file
  throw new SluiceError(
    'NOT_RUNNING',
    `there is no ${relative(process.cwd(), file)}, which a first start makes while identity/ knows nobody; say whose token to use with --token-file`,
  )
}

async function post(base: string, token: string, topic: string, body: Buffer, options: Options): Promise<string> {
  const levels = topic.split('/')
  if (levels.includes('.') || levels.includes('..'))
    throw new SluiceError('WRONG_USE', 'a topic level "." or ".." cannot stand in a URL: use POST /messages or MQTT')
  const path = levels.map(encodeURIComponent).join('/')
  const query = new URLSearchParams({ qos: options.qos, ...(options.retain && { retain: 'true' }) })
  const headers = {
    authorization: `Bearer ${token}`,
    ...(options.id !== undefined && { 'idempotency-key': options.id }),
  }
  const response = await fetch(`${base}/topics/${path}?${query.toString()}`, {
    method: 'POST',
    headers,
    body: new Uint8Array(body),
  }).catch((error: unknown) => {
    const cause = error instanceof Error && error.cause !== undefined ? messageOf(error.cause) : messageOf(error)
    throw new SluiceError(
      'NOT_RUNNING',
      `nobody answers at ${base} (${cause}); is Sluice running, and is that its HTTP door?`,
    )
  })
  const answer = (await response.json().catch(() => ({}))) as { message?: string; traceId?: string }
  if (response.status !== 200 || answer.traceId === undefined) {
    throw new SluiceError(
      'MESSAGE_REFUSED',
      `the door answered ${response.status}: ${answer.message ?? 'nothing more'}`,
    )
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
