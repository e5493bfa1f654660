import { closeSync, fdatasyncSync, openSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { parentPort, workerData } from 'node:worker_threads'
import { PGlite } from '@electric-sql/pglite'
import type { FromThread, ThreadError, ThreadOrder, ToThread } from './embedded-protocol.ts'
import { SyncedNodeFS, startParams, syncFolder } from './synced-fs.ts'

/**
 * The thread in which the embedded queue's Postgres runs: every statement blocks it for some milliseconds, and its
 * answers come as microtasks that would starve timers and sockets (feasibility-queue, change 3).
 */
if (parentPort === null) throw new Error('this file runs in a worker thread')
const port = parentPort
const order = workerData as ThreadOrder
const files = new SyncedNodeFS(order.folder)
let lastWords = ''
const database = await open()

if (order.task === 'create') await create()
else serve()

/** When it can't be opened, what Postgres says is more than what its broken-off program says. */
async function open(): Promise<PGlite> {
  const onStderr = (line: string) => {
    lastWords = /(?:PANIC|FATAL): .*/.exec(line)?.[0] ?? lastWords
    return true
  }
  try {
    return await PGlite.create({ fs: files, startParams, onStderr })
  } catch (error) {
    throw lastWords === '' ? error : new Error(lastWords, { cause: error })
  }
}

async function create(): Promise<void> {
  await database.close()
  syncAll(order.folder)
  send({ kind: 'ready' })
}

function serve(): void {
  database.onNotification((channel, payload) => send({ kind: 'notification', channel, payload }))
  port.on('message', (message: ToThread) => void obey(message))
  send({ kind: 'ready' })
}

async function obey(message: ToThread): Promise<void> {
  if (message.kind === 'syncs') return send({ kind: 'result', id: message.id, rows: [files.syncs], rowCount: 1 })
  if (message.kind === 'close') {
    await database.close()
    send({ kind: 'closed' })
    port.close()
    return
  }
  try {
    send({ kind: 'result', id: message.id, ...(await run(message.text, message.params)) })
  } catch (error) {
    send({ kind: 'failed', id: message.id, error: describe(error) })
  }
}

/** Without parameters a text may hold several statements (BullMQ's migrations do); the last one's result counts. */
async function run(
  text: string,
  params: readonly unknown[] | undefined,
): Promise<{ rows: readonly unknown[]; rowCount: number }> {
  const results =
    params === undefined || params.length === 0 ? await database.exec(text) : [await database.query(text, [...params])]
  const last = results.at(-1)
  const rows = last?.rows ?? []
  return { rows, rowCount: (last?.affectedRows ?? 0) || rows.length }
}

function describe(error: unknown): ThreadError {
  if (!(error instanceof Error)) return { message: lastWords || String(error), fatal: true }
  const { code, detail, severity } = error as Error & { code?: unknown; detail?: unknown; severity?: unknown }
  const state = typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code) ? code : undefined
  return {
    message: state === undefined && lastWords !== '' ? lastWords : error.message,
    ...(state !== undefined && { code: state }),
    ...(typeof detail === 'string' && { detail }),
    // Without a SQLSTATE it is not an answer of Postgres: its program has broken off.
    fatal: state === undefined || severity === 'FATAL' || severity === 'PANIC',
  }
}

/** A new database was copied into its folder without a sync. */
function syncAll(folder: string): void {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) syncAll(path)
    else if (entry.isFile()) syncFile(path)
  }
  syncFolder(folder)
}

function syncFile(path: string): void {
  const handle = openSync(path, 'r+')
  try {
    fdatasyncSync(handle)
  } finally {
    closeSync(handle)
  }
}

function send(message: FromThread): void {
  port.postMessage(message)
}
