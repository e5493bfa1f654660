import { createInterface } from 'node:readline/promises'
import { Writable } from 'node:stream'
import type { Command } from 'commander'
import { SluiceError } from '../core/errors.ts'
import { hashPassword, maxPasswordBytes } from '../identity/password.ts'
import { readStandardInput } from './context.ts'

/** `sluice identity password NAME`; stands after `addIdentity`, whose command it belongs to. */
export function addPassword(program: Command): void {
  const identity =
    program.commands.find((command) => command.name() === 'identity') ??
    program.command('identity').description('manage who may come in')
  identity
    .command('password <name>')
    .description('hash a password for a principal and print the entry; it is asked for, or read from standard input')
    .action(async (name: string) => {
      if (!/^[\x21-\x7e]{1,128}$/.test(name))
        throw new SluiceError('WRONG_USE', 'a principal has a name of 1 to 128 visible ASCII characters, no spaces')
      const hash = await hashPassword(process.stdin.isTTY ? await askTwice() : await readLine())
      // JSON strings are YAML strings, whatever characters the name has.
      console.log(`principals:\n  - name: ${JSON.stringify(name)}\n    password: { scrypt: '${hash}' }`)
      console.error(`\nPut this into a file in identity/; where ${name} has an entry already, add the last line to it.`)
      if (name.includes(':')) console.error('HTTP Basic knows no user name with a colon; over MQTT it is fine.')
    })
}

/** What was piped in, without the line break at its end. */
async function readLine(): Promise<Buffer> {
  const bytes = await readStandardInput(maxPasswordBytes + 2)
  const end = bytes.at(-1) === 0x0a ? (bytes.at(-2) === 0x0d ? -2 : -1) : undefined
  return bytes.subarray(0, end)
}

async function askTwice(): Promise<Buffer> {
  const password = await ask('Password: ')
  if (!password.equals(await ask('Once more: ')))
    throw new SluiceError('WRONG_USE', 'these were two different passwords')
  return password
}

/** Asks on the terminal without echo; the question goes to standard error, so that standard output is the entry alone. */
async function ask(question: string): Promise<Buffer> {
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() })
  const terminal = createInterface({ input: process.stdin, output: nowhere, terminal: true })
  process.stderr.write(question)
  try {
    return await new Promise<Buffer>((resolve, reject) => {
      terminal.once('line', (line) => resolve(Buffer.from(line, 'utf8')))
      terminal.once('close', () => reject(new SluiceError('WRONG_USE', 'no password was given')))
    })
  } finally {
    terminal.close()
    process.stderr.write('\n')
  }
}
