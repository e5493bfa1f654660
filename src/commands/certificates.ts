import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { type Command, InvalidArgumentError } from 'commander'
import type { CertificateAct, CertificateRequest } from '../admin/control.ts'
import { SluiceError } from '../core/errors.ts'
import { ask } from './context.ts'
import { paint, printTable } from './output.ts'

interface Shown {
  readonly fingerprint: string
  readonly status: string
  readonly from: 'file' | 'record'
  readonly principal: string
  readonly thing?: string
  readonly policies: readonly string[]
  readonly authority?: string
}

interface Options {
  readonly json?: true
  readonly status?: string
  readonly thing?: string
  readonly policy: readonly string[]
}

const colours: Readonly<Record<string, 'green' | 'yellow' | 'red' | 'gray'>> = {
  ACTIVE: 'green',
  INACTIVE: 'gray',
  PENDING_ACTIVATION: 'yellow',
  REVOKED: 'red',
}

function knownStatus(text: string): string {
  const status = text.toUpperCase()
  if (Object.hasOwn(colours, status)) return status
  throw new InvalidArgumentError(`It must be one of ${Object.keys(colours).join(', ')}.`)
}

const collect = (value: string, before: readonly string[]): readonly string[] => [...before, value]

/** The client certificates that a running ingest knows; changes reach every ingest, and live connections, within a second. */
export function addCertificates(program: Command): void {
  const certificates = program
    .command('certificates')
    .description('client certificates that a running ingest knows: list, activate, revoke, attach')
  const command = (name: string, description: string): Command =>
    certificates.command(name).description(description).option('--json', 'print one JSON document')
  const withAttachment = (of: Command): Command =>
    of
      .option('--thing <thing>', 'the thing')
      .option('--policy <policy>', 'a policy; may be given several times', collect, [])

  command('ls', 'list them: those of identity/ and those that came by themselves')
    .option('--status <status>', `only those of this status: ${Object.keys(colours).join(', ')}`, knownStatus)
    .action(async (options: Options) => {
      const all = (await ask(program, 'GET', '/certificates')) as readonly Shown[]
      const wanted = options.status
      const list = wanted === undefined ? all : all.filter(({ status }) => status === wanted)
      if (options.json) return console.log(JSON.stringify(list, undefined, 2))
      if (list.length === 0) return console.log('no certificates')
      printTable([
        ['fingerprint', 'status', 'principal', 'thing', 'policies', 'by'],
        ...list.map(({ fingerprint, status, from, principal, thing, policies, authority }) => [
          fingerprint,
          paint(colours[status] ?? 'gray', status),
          principal === fingerprint ? '' : principal,
          thing ?? '',
          policies.join(' '),
          from === 'file' ? 'identity/' : (authority ?? 'registered'),
        ]),
      ])
    })

  command('show <fingerprint>', 'everything about one').action(async (fingerprint: string) => {
    const shown = await ask(program, 'GET', `/certificates/${encodeURIComponent(fingerprint)}`)
    console.log(JSON.stringify(shown, undefined, 2))
  })

  withAttachment(command('register <pem-file-or-fingerprint>', 'register one; ACTIVE unless --status says otherwise'))
    .option('--status <status>', 'ACTIVE, INACTIVE or REVOKED')
    .action(async (text: string, options: Options) => {
      const what = /^[\da-f:]{64,95}$/i.test(text) ? { fingerprint: text } : { pem: await readPem(text) }
      const { status } = options
      await act(
        program,
        'register',
        { ...what, ...(status !== undefined && { status }), ...attachmentOf(options) },
        options,
      )
    })

  for (const [name, status, description] of [
    ['activate', 'ACTIVE', 'let it in'],
    ['deactivate', 'INACTIVE', 'let it in no more, until it is activated; its connections end'],
    ['revoke', 'REVOKED', 'let it in never again; its connections end'],
  ] as const) {
    command(`${name} <fingerprint>`, description).action((fingerprint: string, options: Options) =>
      act(program, 'set-status', { fingerprint, status }, options),
    )
  }

  for (const name of ['attach', 'detach'] as const) {
    const description =
      name === 'attach' ? 'attach it to a thing, or policies to it' : 'take its thing, or policies, away from it'
    withAttachment(command(`${name} <fingerprint>`, description)).action(
      async (fingerprint: string, options: Options) => {
        const attachment = attachmentOf(options)
        if (Object.keys(attachment).length === 0)
          throw new SluiceError('WRONG_USE', `say what to ${name}: --thing THING or --policy POLICY`)
        await act(program, name, { fingerprint, ...attachment }, options)
      },
    )
  }

  command('rm <fingerprint>', 'forget one that is INACTIVE or REVOKED').action(
    (fingerprint: string, options: Options) => act(program, 'delete', { fingerprint }, options),
  )
}

function attachmentOf({ thing, policy }: Options): Pick<CertificateRequest, 'thing' | 'policies'> {
  return { ...(thing !== undefined && { thing }), ...(policy.length > 0 && { policies: policy }) }
}

async function act(program: Command, act: CertificateAct, what: CertificateRequest, options: Options): Promise<void> {
  const result = (await ask(program, 'POST', `/certificates/${act}`, what)) as Partial<Shown>
  if (options.json) return console.log(JSON.stringify(result, undefined, 2))
  const { fingerprint, status } = result
  console.log(
    `${fingerprint ?? ''} ${status === undefined ? 'is gone' : `is ${paint(colours[status] ?? 'gray', status)}`}`,
  )
}

async function readPem(file: string): Promise<string> {
  const text = await readFile(resolve(file), 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new SluiceError(
      'WRONG_USE',
      `${file} is no fingerprint, and no file that can be read (${error.code ?? 'error'})`,
    )
  })
  if (!text.includes('-----BEGIN CERTIFICATE')) throw new SluiceError('WRONG_USE', `${file} holds no certificate (PEM)`)
  return text
}
