import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { heapFlags } from '../../src/app/heap.ts'
import { freePort } from '../../test/support/cleanup.ts'
import { cpuSeconds, memoryMiB } from './usage.ts'

/** What the subscriber at the end saw of one run, and what the watched processes spent on it. */
export interface Observed {
  readonly name: string
  readonly messages: number
  readonly duplicates: number
  /** Messages a second, first to last. */
  readonly rate: number
  /** Milliseconds from publish to subscriber. */
  readonly p50: number
  readonly p99: number
  readonly cpuMicros: Readonly<Record<string, number>>
  readonly peakMiB: Readonly<Record<string, number>>
}

export interface Flood {
  readonly port: number
  readonly publish: string
  readonly observe: string
  readonly messages: number
  readonly window: number
  readonly rate?: number
  readonly watch?: Readonly<Record<string, Part>>
}

/** A process of the bench. Its output is kept, to be shown when it ends before its time. */
export interface Part {
  readonly pid: number
  says(text: string): Promise<void>
  /** All that it has printed so far. */
  output(): string
  json(): Promise<Record<string, number>>
  stop(): Promise<void>
}

const here = dirname(fileURLToPath(import.meta.url))

/** Servers and processes of one benchmark, on free ports and in a folder of its own. */
export class Bench {
  readonly folder: string
  readonly #parts: Part[] = []

  static async open(): Promise<Bench> {
    return new Bench(await mkdtemp(join(tmpdir(), 'sluice-bench-')))
  }

  private constructor(folder: string) {
    this.folder = folder
  }

  async mosquitto(): Promise<number> {
    const port = await freePort()
    const file = join(this.folder, 'mosquitto.conf')
    const lines = [
      `listener ${port} 127.0.0.1`,
      'allow_anonymous true',
      'user root',
      'max_queued_messages 100000000',
      'max_queued_bytes 0',
      'max_inflight_messages 1000',
    ]
    await writeFile(file, lines.join('\n'))
    const part = this.#start('mosquitto', ['-c', file])
    await part.says('running')
    return port
  }

  async redis(): Promise<number> {
    const port = await freePort()
    const part = this.#start('redis-server', [
      '--port',
      String(port),
      '--bind',
      '127.0.0.1',
      '--dir',
      this.folder,
      '--save',
      '',
      '--appendonly',
      'yes',
      '--appendfsync',
      'everysec',
      '--maxmemory-policy',
      'noeviction',
    ])
    await part.says('Ready to accept connections')
    return port
  }

  async node(script: string, parameters: readonly string[]): Promise<Part> {
    return this.#start(process.execPath, [join(here, '..', script), ...parameters])
  }

  async sluice(config: string, parameters: readonly string[]): Promise<Part> {
    return this.#start(process.execPath, [
      ...heapFlags,
      join(here, '../../bin/sluice.js'),
      '--config',
      config,
      ...parameters,
    ])
  }

  /** One run: a subscriber, then a publisher in a process of its own, until every message has arrived. */
  async flood(
    name: string,
    { port, publish, observe, messages, window, rate = 0, watch = {} }: Flood,
  ): Promise<Observed> {
    const observer = await this.node('support/observer.ts', [String(port), observe, String(messages)])
    await observer.says('ready')
    const before = Object.entries(watch).map(([part, { pid }]) => [part, cpuSeconds(pid)] as const)
    const load = await this.node('support/load.ts', [port, publish, messages, window, rate].map(String))
    const seen = await observer.json()
    const cpuMicros = Object.fromEntries(
      before.map(([part, seconds]) => [part, ((cpuSeconds(watch[part]?.pid ?? 0) - seconds) * 1e6) / messages]),
    )
    const peakMiB = Object.fromEntries(Object.entries(watch).map(([part, { pid }]) => [part, memoryMiB(pid).peak]))
    await Promise.all([observer.stop(), load.stop()])
    const { duplicates = 0, rate: measured = 0, p50 = 0, p99 = 0 } = seen
    return { name, messages, duplicates, rate: measured, p50, p99, cpuMicros, peakMiB }
  }

  async close(): Promise<void> {
    for (const part of this.#parts.toReversed()) await part.stop()
    await rm(this.folder, { recursive: true, force: true })
  }

  #start(command: string, parameters: readonly string[]): Part {
    const child: ChildProcess = spawn(command, parameters, { stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    const ended = once(child, 'close')
    const changed = new Set<() => void>()
    const listen = (chunk: Buffer) => {
      output += chunk.toString()
      for (const look of changed) look()
    }
    child.stdout?.on('data', listen)
    child.stderr?.on('data', listen)

    const wait = (what: string, found: () => boolean) =>
      new Promise<void>((resolve, reject) => {
        const look = () => {
          if (!found()) return
          changed.delete(look)
          resolve()
        }
        changed.add(look)
        child.once('close', (code) =>
          reject(new Error(`${command} ended with ${code} before it said ${what}:\n${output}`)),
        )
        look()
      })
    const part: Part = {
      pid: child.pid ?? 0,
      output: () => output,
      says: (text) => wait(text, () => output.includes(text)),
      async json() {
        const line = () => output.split('\n').find((text) => text.startsWith('{') && output.includes(`${text}\n`))
        await wait('a JSON line', () => line() !== undefined)
        return JSON.parse(line() ?? '{}') as Record<string, number>
      },
      async stop() {
        if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM')
        const timer = setTimeout(() => child.kill('SIGKILL'), 10_000)
        await ended
        clearTimeout(timer)
      },
    }
    this.#parts.push(part)
    return part
  }
}
