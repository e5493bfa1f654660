import { readFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { type Command, InvalidArgumentError } from 'commander'
import { catalog } from '../app/catalog.ts'
import { requireConfiguration } from '../app/configuration.ts'
import { callControl, type ControlAnswer } from '../admin/client.ts'
import type { Config } from '../config/load.ts'
import { messageOf, SluiceError } from '../core/errors.ts'
import { Redactor } from '../core/redactor.ts'

/** The file that `--config` names, for any command of the program. */
export function configFile(program: Command): string {
  return program.opts<{ config: string }>().config
}

/** The configuration without any secret: for commands that only read or ask. Throws ProblemsError. */
export function readWithoutSecrets(program: Command): Promise<Config> {
  return requireConfiguration({
    file: configFile(program),
    role: { kind: 'everything' },
    catalog,
    redactor: new Redactor(),
    resolve: false,
  })
}

/**
 * The data folder, from sluice.yaml alone: a container may have no other file, and a running Sluice must be operable
 * whatever state the rules and workers on the disk are in.
 */
export async function dataFolder(program: Command): Promise<string> {
  const role = { kind: 'workers', names: [] } as const
  const { settings } = await requireConfiguration({
    file: configFile(program),
    role,
    catalog,
    redactor: new Redactor(),
    resolve: false,
  })
  return settings.data
}

export function controlSocket(dataFolder: string): string {
  return join(dataFolder, 'control.sock')
}

/** Asks a running Sluice, and turns an answer that says no into an error. */
export async function ask(program: Command, method: 'GET' | 'POST', path: string, body?: unknown): Promise<unknown> {
  const answer = await callSocket(controlSocket(await dataFolder(program)), method, path, body)
  if (answer.status < 400) return answer.body
  const message = (answer.body as { message?: unknown } | null)?.message
  throw new SluiceError(
    answer.status < 500 ? 'WRONG_USE' : 'NOT_RUNNING',
    typeof message === 'string' ? message : `the running Sluice answered ${answer.status}`,
  )
}

/** As `callControl`; a socket that can't be used, whatever the reason, is an error without a stack. Throws SluiceError NOT_RUNNING. */
export function callSocket(
  socket: string,
  method: 'GET' | 'POST',
  path: string,
  body?: unknown,
): Promise<ControlAnswer> {
  return callControl(socket, method, path, body).catch((error: NodeJS.ErrnoException) => {
    if (error instanceof SluiceError) throw error
    const because = error.code === 'EACCES' ? 'this user may not use it' : messageOf(error)
    throw new SluiceError('NOT_RUNNING', `the Sluice behind ${socket} cannot be asked: ${because}`, { cause: error })
  })
}

/** Reads an option that is a number of seconds or of things, 0 or more; anything else is wrong use. */
export function countOption(text: string): number {
  if (!/^\d{1,9}(\.\d{1,3})?$/.test(text)) throw new InvalidArgumentError('It must be a number, 0 or more.')
  return Number(text)
}

/** All of standard input as bytes, at most `limit`. Throws SluiceError LIMIT_EXCEEDED. */
export async function readStandardInput(limit: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > limit) throw new SluiceError('LIMIT_EXCEEDED', `standard input is larger than ${limit} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

/** The first line of a file that holds a token. Throws SluiceError WRONG_USE, and never quotes the file. */
export async function readToken(file: string): Promise<string> {
  const text = await readFile(resolve(file), 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new SluiceError('WRONG_USE', `the token file ${file} cannot be read (${error.code ?? 'error'})`)
  })
  const token = text.split('\n', 1)[0]?.trim() ?? ''
  if (token === '') throw new SluiceError('WRONG_USE', `the token file ${file} is empty`)
  return token
}
