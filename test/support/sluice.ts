import { createHash } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Scope, until } from './cleanup.ts'
import { run, type Running } from './process.ts'

const bin = fileURLToPath(new URL('../../bin/sluice.js', import.meta.url))

/** Writes files (by relative path) into a folder; what isn't text is written as JSON, which is YAML. Gives the path of sluice.yaml. */
export async function writeFiles(folder: string, files: Readonly<Record<string, unknown>>): Promise<string> {
  for (const [name, content] of Object.entries(files)) {
    const path = join(folder, name)
    await mkdir(dirname(path), { recursive: true })
    await writeFile(path, typeof content === 'string' ? content : JSON.stringify(content, undefined, 2))
  }
  return join(folder, 'sluice.yaml')
}

/** The environment of a process under test: nothing of ours but what a program needs to run. */
export function plainEnvironment(extra: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv {
  return { PATH: process.env['PATH'] ?? '', HOME: process.env['HOME'] ?? '', ...extra }
}

/** Runs `sluice` as a process of its own. */
export function sluice(
  scope: Scope,
  config: string,
  parameters: readonly string[],
  options: { env?: Readonly<Record<string, string>>; cwd?: string; input?: string } = {},
): Running {
  return run(scope, process.execPath, [bin, '--config', config, ...parameters], {
    env: plainEnvironment(options.env),
    ...(options.cwd !== undefined && { cwd: options.cwd }),
    ...(options.input !== undefined && { input: options.input }),
  })
}

/** Waits until a long-running `sluice` has said that it is ready; `times` for a supervisor whose parts say it each. */
export function ready(running: Running, times = 1): Promise<void> {
  return said(running, 'ready', times)
}

/** Waits until a line of its log is exactly this. */
export async function said(running: Running, message: string, times = 1): Promise<void> {
  await until(
    `${message}; it said: ${running.output()}`,
    () => {
      if (running.child.exitCode !== null)
        throw new Error(`it ended with ${running.child.exitCode}: ${running.output()}`)
      return logLines(running).filter(({ msg }) => msg === message).length >= times
    },
    30_000,
  )
}

/** The JSON log lines among what a process printed. */
export function logLines(running: Running): readonly Record<string, unknown>[] {
  return running
    .output()
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Record<string, unknown>)
}

/** A principal's entry for identity/, with the token that proves it. */
export function principalEntry(
  name: string,
  token: string,
  more: Readonly<Record<string, unknown>> = {},
): Record<string, unknown> {
  return { name, policies: [], ...more, token: { sha256: createHash('sha256').update(token).digest('hex') } }
}

/** A policy that allows everything on one machine's test topics. */
export const allowEverything = {
  Version: '2012-10-17',
  Statement: [{ Effect: 'Allow', Action: 'iot:*', Resource: '*' }],
}

/** A policy by which each thing may connect under its name and publish below `devices/<its name>/`. */
export const ownTelemetry = {
  Version: '2012-10-17',
  Statement: [
    { Effect: 'Allow', Action: 'iot:Connect', Resource: 'arn:aws:iot:*:*:client/${iot:Connection.Thing.ThingName}' },
    {
      Effect: 'Allow',
      Action: 'iot:Publish',
      Resource: 'arn:aws:iot:*:*:topic/devices/${iot:Connection.Thing.ThingName}/*',
    },
  ],
}

/** A file for identity/: one principal `p`, proved by the token, that may do everything. */
export function oneForEverything(token: string): Record<string, unknown> {
  return { principals: [principalEntry('p', token, { policies: ['all'] })], policies: { all: allowEverything } }
}

/** Posts one message to the HTTP door. */
export async function post(
  port: number,
  token: string,
  topic: string,
  body: string | Uint8Array<ArrayBuffer>,
  headers: Readonly<Record<string, string>> = {},
) {
  const response = await fetch(`http://127.0.0.1:${port}/topics/${topic}?qos=1`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, ...headers },
    body,
  })
  return {
    status: response.status,
    body: (await response.json()) as { message: string; traceId: string },
    retryAfter: response.headers.get('retry-after'),
  }
}
