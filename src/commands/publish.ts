import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join, relative, resolve } from 'node:path'
import { type Command, Option } from 'commander'
import { SluiceError } from '../core/errors.ts'
import type { IngestStatus } from '../app/status.ts'
import type { Trace } from '../app/tracer.ts'
import { pkiFolder } from '../app/local-pki.ts'
import { tryOutTokenFile } from '../app/try-out.ts'
import { demoName, pkiPaths } from '../pki/paths.ts'
import { ask, countOption, dataFolder, readStandardInput, readToken } from './context.ts'
import { paint } from './output.ts'
import { post, type Sender } from './publish-request.ts'

interface Options {
  readonly qos: string
  readonly retain?: true
  readonly id?: string
  readonly tokenFile?: string
  readonly certificate?: string
  readonly key?: string
  readonly ca?: string
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
    .option('--token-file <file>', 'a file with the token to use')
    .option('--certificate <file>', 'a client certificate (PEM) to use over HTTPS, with --key')
    .option('--key <file>', 'its key (PEM)')
    .option('--ca <file>', 'the authority of the HTTPS door (PEM); by default the local CA')
    .option('--url <url>', 'the HTTP door; by default that of the Sluice that runs here')
    .option('--wait <seconds>', 'how long to wait for a worker', countOption, 5)
    .option('--json', 'print one JSON document')
    .addHelpText(
      'after',
      '\nWithout a payload it is read from standard input. Without a token and a certificate it uses those of the first run: over HTTPS the demo device’s certificate, over HTTP the token.',
    )
    .action(async (topic: string, payload: string | undefined, options: Options) => {
      const path = pathOf(topic, options)
      const sender = await senderFor(program, options)
      const body = payload === undefined ? await readStandardInput(maxInput) : Buffer.from(payload)
      const answer = await post(sender, path, options.id === undefined ? {} : { 'idempotency-key': options.id }, body)
      if (answer.status !== 200 || answer.traceId === undefined) {
        throw new SluiceError(
          'MESSAGE_REFUSED',
          `the door answered ${answer.status}: ${answer.message ?? 'nothing more'}`,
        )
      }
      const id = answer.traceId
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

function pathOf(topic: string, { qos, retain }: Options): string {
  const levels = topic.split('/')
  if (levels.includes('.') || levels.includes('..'))
    throw new SluiceError('WRONG_USE', 'a topic level "." or ".." cannot stand in a URL: use POST /messages or MQTT')
  const query = new URLSearchParams({ qos, ...(retain && { retain: 'true' }) })
  return `/topics/${levels.map(encodeURIComponent).join('/')}?${query.toString()}`
}

/** Who publishes, and where. Throws SluiceError where nothing says so. */
async function senderFor(program: Command, options: Options): Promise<Sender> {
  const { certificate, key, tokenFile, ca, url } = options
  if ((certificate === undefined) !== (key === undefined))
    throw new SluiceError('WRONG_USE', 'a client certificate needs both --certificate and --key')
  if (certificate !== undefined && tokenFile !== undefined)
    throw new SluiceError('WRONG_USE', 'say --token-file or --certificate, not both')
  const data = await dataFolder(program)
  const paths = pkiPaths(pkiFolder(data))
  const doors = url === undefined ? await runningDoors(program) : [url]
  const https = doors.find((door) => door.startsWith('https://'))
  const authorityFile = ca ?? (existsSync(paths.ca.certificate) ? paths.ca.certificate : undefined)
  const authority = authorityFile === undefined ? {} : { authority: await readPem(authorityFile) }

  const demo = paths.issued('device', demoName)
  const own = key !== undefined && certificate !== undefined ? { certificate, key } : undefined
  const pair = own ?? (tokenFile === undefined && existsSync(demo.certificate) ? demo : undefined)
  if (pair !== undefined && https !== undefined) {
    const texts = { certificate: await readPem(pair.certificate), key: await readPem(pair.key) }
    return { door: https, certificate: texts, ...authority }
  }
  if (own !== undefined)
    throw new SluiceError('WRONG_USE', 'a client certificate needs an HTTPS door; say --url https://…')
  const door = doors.find((door) => door.startsWith('http://')) ?? https
  if (door === undefined) throw new SluiceError('WRONG_USE', 'the running Sluice has no HTTP door; say --url')
  return { door, token: await readToken(tokenFile ?? defaultTokenFile(data)), ...authority }
}

/** Where the running Sluice says that it listens for HTTP. Throws SluiceError NOT_RUNNING. */
async function runningDoors(program: Command): Promise<readonly string[]> {
  const { doors } = (await ask(program, 'GET', '/status')) as IngestStatus
  return doors.filter((place) => place.startsWith('http')).map(reachable)
}

/** A listener on every address is reached on this machine's own. */
function reachable(door: string): string {
  return door.replace('//0.0.0.0:', '//127.0.0.1:').replace('//[::]:', '//[::1]:')
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

async function readPem(file: string): Promise<string> {
  const text = await readFile(resolve(file), 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new SluiceError('WRONG_USE', `${file} cannot be read (${error.code ?? 'error'})`)
  })
  if (!text.includes('-----BEGIN ')) throw new SluiceError('WRONG_USE', `${file} is not a PEM file`)
  return text
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
