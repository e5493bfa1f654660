import { createReadStream } from 'node:fs'
import { access, mkdir, writeFile } from 'node:fs/promises'
import { dirname, join, relative, resolve } from 'node:path'
import { type Command, InvalidArgumentError } from 'commander'
import type { Directory } from '../core/directory.ts'
import { SluiceError } from '../core/errors.ts'
import type { Issued } from '../pki/issue.ts'
import { checkPrincipal, principalText, type WantedPrincipal } from '../pki/principal-file.ts'
import { configFile, dataFolder, readStandardInput, readWithoutSecrets } from './context.ts'
import { countOf, paint, printTable } from './output.ts'

// What loads the X.509 library is imported in the actions: no other command waits for it.

interface FolderOptions {
  readonly folder?: string
  readonly json?: true
}

interface HostOptions {
  readonly dns: readonly string[]
  readonly ip: readonly string[]
}

interface PrincipalOptions {
  readonly thing?: string
  readonly policy: readonly string[]
}

interface IssueOptions extends FolderOptions, HostOptions, PrincipalOptions {
  readonly server?: true
  readonly subject?: string
  readonly days?: number
  readonly rsa?: true
}

interface SignOptions extends FolderOptions, PrincipalOptions {
  readonly name?: string
  readonly days?: number
}

/** Ports of the copyable lines: those of AWS IoT, and Sluice's own by default. */
const ports = { mqtts: 8883, https: 8443 } as const

const collect = (value: string, before: readonly string[]): readonly string[] => [...before, value]

export function addPki(program: Command): void {
  const pki = program.command('pki').description('a local CA: certificates for devices and servers, and their end')
  const command = (name: string, description: string): Command =>
    pki
      .command(name)
      .description(description)
      .option('--folder <folder>', 'the PKI; by default pki in the data folder')
      .option('--json', 'print one JSON document')
  const folderOf = async ({ folder }: FolderOptions): Promise<string> =>
    folder === undefined ? join(await dataFolder(program), 'pki') : resolve(folder)

  withHosts(
    command('init', 'make a CA, server certificates and a demo device where there are none; renew what ends soon'),
  ).action(async (options: FolderOptions & HostOptions) => init(program, await folderOf(options), options))

  withPrincipal(withHosts(command('issue <name>', 'make a key and a certificate, for a device unless --server')))
    .option('--server', 'for a TLS server: another broker, another machine')
    .option('--subject <subject>', 'such as "CN=pump 7,O=Works"; by default CN=NAME')
    .option('--days <days>', 'how long it is valid; by default 3650, a server 397', wholeDays)
    .option('--rsa', 'an RSA key of 2048 bits instead of P-256')
    .action(async (name: string, options: IssueOptions) => {
      const folder = await folderOf(options)
      if (options.server) return issueServer(folder, name, options)
      if (options.dns.length + options.ip.length > 0)
        throw new SluiceError('WRONG_USE', '--dns and --ip are for servers; say --server too')
      const { issueDevice } = await import('../pki/issue.ts')
      const { subject, days, rsa } = options
      const key = rsa ? 'rsa' : 'ec'
      const device = {
        name,
        key,
        ...(subject !== undefined && { subject }),
        ...(days !== undefined && { days }),
      } as const
      const principal = await principalFor(program, options)
      await principal?.check(name)
      const issued = await issueDevice(folder, device)
      await printIssued(issued, await principal?.write(issued), options)
    })

  withPrincipal(command('sign <csr>', 'sign a certificate request that a device has made; "-" is standard input'))
    .option('--name <name>', 'its name here; by default the common name of the request')
    .option('--days <days>', 'how long it is valid; by default 3650', wholeDays)
    .action(async (file: string, options: SignOptions) => {
      const folder = await folderOf(options)
      const { maxRequestBytes, readRequest } = await import('../pki/request.ts')
      const { nameFor, signCsr } = await import('../pki/issue.ts')
      const request = await (file === '-' ? readStandardInput(maxRequestBytes) : readUpTo(file, maxRequestBytes))
      const name = nameFor(await readRequest(request), options.name)
      const principal = await principalFor(program, options)
      await principal?.check(name)
      const issued = await signCsr(folder, { request, name, ...(options.days !== undefined && { days: options.days }) })
      await printIssued(issued, await principal?.write(issued), options)
    })

  command('revoke <which>', 'revoke by name, serial number or fingerprint, for good').action(
    async (which: string, options: FolderOptions) => revokeOne(program, await folderOf(options), which, options),
  )

  command('crl', 'make the list of revoked certificates anew, good for 30 days')
    .option('--print', 'print it as PEM too')
    .action(async (options: FolderOptions & { print?: true }) => {
      const { makeCrl } = await import('../pki/crl.ts')
      const crl = await makeCrl(await folderOf(options))
      const { file, pem, revoked } = crl
      const nextUpdate = crl.nextUpdate.toISOString()
      if (options.json) return printJson({ file, revoked, nextUpdate, ...(options.print && { pem }) })
      if (options.print) return console.log(pem.trimEnd())
      console.log(
        `${shown(file)} lists ${countOf(revoked, 'certificate')}; the next is due by ${nextUpdate.slice(0, 10)}`,
      )
    })

  command('ls', 'list what the CA has signed').action(async (options: FolderOptions) => {
    const { listCertificates } = await import('../pki/list.ts')
    const certificates = await listCertificates(await folderOf(options))
    if (options.json) return printJson(certificates)
    if (certificates.length === 0) return console.log('nothing is signed yet')
    const colours = { valid: 'green', ended: 'gray', revoked: 'red' } as const
    printTable(
      certificates.map(({ name, kind, state, notAfter, serial, fingerprint }) => [
        name,
        kind,
        paint(colours[state], state),
        `until ${notAfter.slice(0, 10)}`,
        serial,
        fingerprint,
      ]),
    )
  })
}

function withHosts(command: Command): Command {
  return command
    .option('--dns <name>', 'a DNS name of the server; may be given several times', collect, [])
    .option('--ip <address>', 'an IP address of the server; may be given several times', collect, [])
}

function withPrincipal(command: Command): Command {
  return command
    .option('--thing <thing>', 'also write a principal into identity/, attached to this thing')
    .option('--policy <policy>', 'also write a principal with this policy; may be given several times', collect, [])
}

async function init(program: Command, folder: string, options: FolderOptions & HostOptions): Promise<void> {
  const { dns, ip, json } = options
  const { ensurePki } = await import('../pki/ensure.ts')
  const { hostNames } = await import('../pki/names.ts')
  const names = hostNames(dns, ip).map(({ value }) => value)
  const { created, made, attention, demo } = await ensurePki(folder, { hostNames: names, renewForNames: true })
  if (json) return printJson({ folder, created, made, attention, ...(demo !== undefined && { demo }) })
  if (made.length === 0) console.log(`${shown(folder)} is complete; nothing was made`)
  else console.log(`${shown(folder)}: made ${made.join(', ')}`)
  for (const sentence of attention) console.error(paint('yellow', sentence))
  if (!created) return
  console.log(`\nca.key can make anybody come in: keep it as you keep a password. Back the folder up.`)
  console.log(`Clients trust ${shown(join(folder, 'ca.pem'))}. To let its devices in, name it in identity/:\n`)
  console.log(entryOfAuthority(program, folder))
}

/** What lets devices of the CA in, for a file in identity/ where that folder is beside sluice.yaml. */
function entryOfAuthority(program: Command, folder: string): string {
  const identity = join(dirname(resolve(configFile(program))), 'identity')
  const [certificate, crl] = ['ca.pem', 'crl.pem'].map((name) => relative(identity, join(folder, name)))
  return `  certificateAuthorities: [{ name: local, certificate: ${certificate}, crl: ${crl} }]`
}

async function issueServer(folder: string, name: string, options: IssueOptions): Promise<void> {
  const { dns, ip, days, rsa, thing, policy, subject } = options
  if (thing !== undefined || policy.length > 0 || subject !== undefined)
    throw new SluiceError(
      'WRONG_USE',
      '--thing, --policy and --subject are for devices; a server has none of them here',
    )
  const { issueServer: make } = await import('../pki/issue.ts')
  const { hostNames } = await import('../pki/names.ts')
  const hosts = hostNames(dns, ip)
  await printIssued(
    await make(folder, { name, hosts, key: rsa ? 'rsa' : 'ec', ...(days !== undefined && { days }) }),
    undefined,
    options,
  )
}

async function revokeOne(program: Command, folder: string, which: string, { json }: FolderOptions): Promise<void> {
  const { revoke } = await import('../pki/revoke.ts')
  const { revoked, before, crl } = await revoke(folder, which)
  if (json) return printJson({ revoked, before, crl: crl.file, nextUpdate: crl.nextUpdate.toISOString() })
  for (const { name, serial, fingerprint } of revoked)
    console.log(`revoked ${name}, serial number ${serial}, fingerprint ${fingerprint}`)
  for (const { name, serial, revokedAt } of before)
    console.log(`${name}, serial number ${serial}, was revoked already on ${revokedAt?.slice(0, 10) ?? ''}`)
  console.log(`${shown(crl.file)} lists it. A running Sluice takes it within seconds where identity/ names the list:\n`)
  console.log(entryOfAuthority(program, folder))
}

interface PrincipalFile {
  /** Throws SluiceError WRONG_USE where it can't be written; before anything is signed. */
  check(name: string): Promise<void>
  /** Gives the path of the file. */
  write(issued: Issued): Promise<string>
}

/** What `--thing` and `--policy` ask for, or undefined. */
async function principalFor(program: Command, options: PrincipalOptions): Promise<PrincipalFile | undefined> {
  const { thing, policy: policies } = options
  if (thing === undefined && policies.length === 0) return undefined
  const { directory, settings } = await readWithoutSecrets(program)
  // A colon is fine in a principal's name and not in a file's name everywhere.
  const fileOf = (name: string) => join(settings.identity, `${name.replaceAll(':', '_')}.yaml`)
  const wanted = (name: string): WantedPrincipal => ({ name, policies, ...(thing !== undefined && { thing }) })
  return {
    async check(name) {
      checkPrincipal(wanted(name), directory)
      const there = await access(fileOf(name)).then(
        () => true,
        () => false,
      )
      if (there) throw new SluiceError('WRONG_USE', `${fileOf(name)} is there already; nothing was made`)
    },
    write: ({ name, fingerprint }) =>
      writePrincipal(settings.identity, fileOf(name), wanted(name), fingerprint, directory),
  }
}

async function writePrincipal(
  folder: string,
  file: string,
  wanted: WantedPrincipal,
  fingerprint: string,
  directory: Directory,
): Promise<string> {
  const text = principalText(wanted, fingerprint, directory)
  await mkdir(folder, { recursive: true })
  await writeFile(file, text, { flag: 'wx' }).catch((error: NodeJS.ErrnoException) => {
    throw new SluiceError(
      'WRONG_USE',
      `the certificate is made, and ${file} cannot be written (${error.code ?? 'error'}); it was to hold:\n\n${text}`,
    )
  })
  return file
}

async function printIssued(issued: Issued, principal: string | undefined, { json }: FolderOptions): Promise<void> {
  const { name, kind, subject, fingerprint, serial, certificate, key, ca } = issued
  const notAfter = issued.notAfter.toISOString()
  if (json) return printJson({ ...issued, notAfter, ...(principal !== undefined && { principal }) })
  console.log(`${name}, a ${kind}: ${subject}, until ${notAfter.slice(0, 10)}`)
  printTable([
    ['  certificate', shown(certificate)],
    ...(key === undefined ? [] : [['  key', shown(key)]]),
    ['  CA', shown(ca)],
    ...(principal === undefined ? [] : [['  principal', shown(principal)]]),
    ['  serial', serial],
    ['  fingerprint', fingerprint],
  ])
  if (kind === 'server') return
  if (principal === undefined)
    console.log(`\nIt is nobody yet: write a principal with "x509: { fingerprint: ${fingerprint} }" in identity/.`)
  else console.log('\nA running Sluice takes it up within seconds.')
  if (key === undefined) return console.log('The certificate goes back to the device, with the CA.')
  const files = [ca, certificate, key].map((path) => quoted(shown(path)))
  const topic = `things/${name}/hello`
  console.log(`
mosquitto_pub -h localhost -p ${ports.mqtts} --cafile ${files[0]} --cert ${files[1]} --key ${files[2]} -i ${name} -q 1 -t ${topic} -m '{"hello":1}'
curl --cacert ${files[0]} --cert ${files[1]} --key ${files[2]} -d '{"hello":1}' 'https://localhost:${ports.https}/topics/${topic}?qos=1'`)
}

/** As the shell takes it for one word. */
function quoted(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`
}

function shown(file: string): string {
  return relative(process.cwd(), file) || '.'
}

function printJson(value: unknown): void {
  console.log(JSON.stringify(value, undefined, 2))
}

function wholeDays(text: string): number {
  if (!/^[1-9]\d{0,5}$/.test(text)) throw new InvalidArgumentError('It must be a whole number of days, 1 or more.')
  return Number(text)
}

/** A file's bytes, at most one more than `limit`, so that its reader can tell. Throws SluiceError WRONG_USE. */
async function readUpTo(file: string, limit: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  try {
    for await (const chunk of createReadStream(file, { end: limit })) chunks.push(chunk as Buffer)
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'error'
    throw new SluiceError('WRONG_USE', `the request ${file} cannot be read (${code})`, { cause: error })
  }
  return Buffer.concat(chunks)
}
