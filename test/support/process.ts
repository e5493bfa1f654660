import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { type Scope, until } from './cleanup.ts'

/** A server or command under test, ended with the test by its own process id. */
export interface Running {
  readonly child: ChildProcess
  /** Everything it printed so far, standard output and error together. */
  output(): string
  /** Sends a signal and waits for the end; gives the exit code (null when a signal ended it). */
  stop(signal?: NodeJS.Signals): Promise<number | null>
  /** Waits for the end by itself. */
  ended(): Promise<number | null>
}

export function run(
  scope: Scope,
  command: string,
  parameters: readonly string[],
  options: { readonly cwd?: string; readonly env?: NodeJS.ProcessEnv; readonly input?: string | Buffer } = {},
): Running {
  const child = spawn(command, parameters, {
    cwd: options.cwd,
    env: options.env ?? process.env,
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  let text = ''
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
  child.stdin.on('error', () => {})
  child.stdin.end(options.input ?? '')
  const exit = once(child, 'close').then(([code]) => code as number | null)
  exit.catch(() => {})
  const running: Running = {
    child,
    output: () => text,
    ended: () => exit,
    async stop(signal = 'SIGTERM') {
      if (child.exitCode === null && child.signalCode === null) child.kill(signal)
      return exit
    },
  }
  scope.after(async () => {
    await running.stop('SIGKILL')
  })
  return running
}

/** Waits until something listens on the loopback port. */
export async function listening(port: number, running: Running, ms = 15_000): Promise<void> {
  await until(
    `a listener on port ${port}; the process said: ${running.output()}`,
    () => {
      if (running.child.exitCode !== null)
        throw new Error(`it ended with ${running.child.exitCode}: ${running.output()}`)
      return new Promise<boolean>((resolve) => {
        const socket = connect(port, '127.0.0.1')
        socket.once('connect', () => (socket.destroy(), resolve(true)))
        socket.once('error', () => resolve(false))
      })
    },
    ms,
  )
}
