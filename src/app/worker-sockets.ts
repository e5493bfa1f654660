import { join } from 'node:path'
import { callControl } from '../admin/client.ts'
import type { Trace } from './tracer.ts'

/** The control socket of a worker's process: health, metrics and traces; the operating is ingest's. */
export function workerSocket(dataFolder: string, name: string): string {
  return join(dataFolder, `worker-${name}.sock`)
}

export type WorkerStates = ReadonlyMap<string, { readonly state: string; readonly reason?: string }>

/** A worker's process that hangs must not hang its ingest's answers. */
const patienceMs = 1_000
/** Traces and states are short; a worker is trusted less than its ingest. */
const maxAnswerBytes = 1024 * 1024

/**
 * Asks the processes of workers that share this data folder. Those that have no socket there (other machines, containers,
 * processes of several workers) answer nothing.
 */
export class WorkerSockets {
  readonly #dataFolder: string
  readonly #workers: () => readonly string[]

  constructor(dataFolder: string, workers: () => readonly string[]) {
    this.#dataFolder = dataFolder
    this.#workers = workers
  }

  /** States of their workers, by name. */
  async states(): Promise<WorkerStates> {
    const answers = await Promise.all(this.#workers().map((name) => this.#ask(name, '/status', 0)))
    return new Map(answers.flatMap(statesIn))
  }

  /** One promise for each process: what it knows of a message. None rejects. */
  traces(id: string, waitMs: number, signal: AbortSignal): readonly Promise<readonly Trace[]>[] {
    const path = `/trace/${encodeURIComponent(id)}?waitMs=${waitMs}`
    return this.#workers().map(async (name) => tracesIn(await this.#ask(name, path, waitMs, signal)))
  }

  async #ask(name: string, path: string, waitMs: number, signal?: AbortSignal): Promise<unknown> {
    const patience = AbortSignal.timeout(waitMs + patienceMs)
    try {
      const { status, body } = await callControl(workerSocket(this.#dataFolder, name), 'GET', path, undefined, {
        signal: signal === undefined ? patience : AbortSignal.any([signal, patience]),
        maxBytes: maxAnswerBytes,
      })
      return status === 200 ? body : undefined
    } catch {
      // Whether a worker runs, and where, isn't ingest's to know: no answer is none.
      return undefined
    }
  }
}

/**
 * What several know of a message: with time to wait, the first that know something; without, all that they know now.
 * `ask` starts the asking; its signal ends it.
 */
export async function firstOrAll(
  waitMs: number,
  ask: (signal: AbortSignal) => readonly Promise<readonly Trace[]>[],
): Promise<readonly Trace[]> {
  const enough = new AbortController()
  const asked = ask(enough.signal)
  const all = Promise.all(asked).then((found) => found.flat())
  if (waitMs === 0) return all
  const first = Promise.withResolvers<readonly Trace[]>()
  for (const answer of asked) void answer.then((found) => found.length > 0 && first.resolve(found))
  try {
    return await Promise.race([first.promise, all])
  } finally {
    enough.abort()
  }
}

function statesIn(answer: unknown): readonly [string, { state: string; reason?: string }][] {
  if (!isRecord(answer)) return []
  return Object.entries(answer).flatMap(([name, value]) => {
    if (!isRecord(value) || typeof value['state'] !== 'string') return []
    const reason = typeof value['reason'] === 'string' ? { reason: value['reason'] } : {}
    return [[name, { state: value['state'], ...reason }] as const]
  }) as [string, { state: string; reason?: string }][]
}

function tracesIn(answer: unknown): readonly Trace[] {
  return Array.isArray(answer) ? answer.filter(isTrace) : []
}

const texts = ['id', 'worker', 'kind', 'rule', 'outcome', 'preview'] as const

function isTrace(value: unknown): value is Trace {
  return isRecord(value) && texts.every((key) => typeof value[key] === 'string') && typeof value['at'] === 'number'
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
