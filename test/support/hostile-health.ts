import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { WebSocket } from 'ws'
import { callControl } from '../../src/admin/client.ts'
import { until } from './cleanup.ts'
import { logLines } from './sluice.ts'
import type { Running } from './process.ts'

/** For the environment of a process of which `heapOf` is to be asked. */
export const observable = { NODE_OPTIONS: '--inspect=127.0.0.1:0' } as const

/** How many file descriptors are open, sockets among them; 0 where the system doesn't say it in /proc. */
export async function descriptorsOf({ child }: Running): Promise<number> {
  return process.platform === 'linux' ? (await readdir(`/proc/${child.pid}/fd`)).length : 0
}

/** Bytes that live on the heap and beside it (buffers) of a process started with `observable`, after garbage was collected. */
export async function heapOf(running: Running): Promise<number> {
  const url = /Debugger listening on (?<url>ws:\S+)/.exec(running.output())?.groups?.['url']
  const socket = new WebSocket(url ?? '')
  try {
    let count = 0
    const waiting = new Map<number, (result: unknown) => void>()
    const opened = Promise.withResolvers<void>()
    socket.on('open', opened.resolve)
    socket.on('error', opened.reject)
    socket.on('message', (data) => {
      const { id, result } = JSON.parse((data as Buffer).toString()) as {
        readonly id?: number
        readonly result?: unknown
      }
      waiting.get(id ?? 0)?.(result)
    })
    await opened.promise
    const ask = (method: string, params: object = {}) =>
      new Promise<unknown>((resolve) => {
        waiting.set((count += 1), resolve)
        socket.send(JSON.stringify({ id: count, method, params }))
      })
    // Twice: what finalizers let go of is collected the second time.
    await ask('HeapProfiler.collectGarbage')
    await ask('HeapProfiler.collectGarbage')
    const expression = '(({ heapUsed, external }) => heapUsed + external)(process.memoryUsage())'
    const answer = (await ask('Runtime.evaluate', { expression })) as { readonly result: { readonly value: number } }
    return answer.result.value
  } finally {
    socket.terminate()
  }
}

/** The sum of a metric over all its labels, or those that have `label`. */
export async function countOf(folder: string, metric: string, label = ''): Promise<number> {
  const { body } = await callControl(join(folder, 'data/control.sock'), 'GET', '/metrics')
  const lines = String(body).matchAll(new RegExp(`^${metric}(?:\\{.*${label}.*\\})? (\\d+)$`, 'gm'))
  return Array.from(lines).reduce((sum, [, value]) => sum + Number(value), 0)
}

/** Waits until no more descriptors are open than `before`, and a few that are opened when somebody asks for the first time. */
export async function descriptorsAreBack(running: Running, before: number, few: number): Promise<void> {
  let now = 0
  await until(
    'the descriptors are closed again',
    async () => (now = await descriptorsOf(running)) <= before + few,
    30_000,
  ).catch(() => {
    throw new Error(`${before} descriptors were open before and ${now} are now`)
  })
}

/** What in a log says of a defect: errors, and traces of stacks. */
export function defectsIn(running: Running): readonly string[] {
  const defects = running
    .output()
    .split('\n')
    .filter((line) => /\bat (?:file:|node:|\S+ \(|async )|\b[A-Z][A-Za-z]*Error\b|unhandled|by itself/i.test(line))
  const errors = logLines(running).filter(({ level }) => level === 'error' || Number(level) >= 50)
  return [...defects, ...errors.map((line) => JSON.stringify(line))]
}
