import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { readFileSync, realpathSync } from 'node:fs'
import { dirname } from 'node:path'
import type { Readable, Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { backoffMs } from '../../core/backoff.ts'
import { messageOf } from '../../core/errors.ts'
import { maxAnswer } from './answer.ts'
import { CallFailed } from './call-failed.ts'
import { type AuthorizerEvent, secretsIn } from './event.ts'
import type { AuthorizerFunction } from './function.ts'
import { eachLine } from './lines.ts'
import type { HostCall } from './module-host.ts'
import type { PacedLog } from '../../core/paced-log.ts'
import { parsedJson } from '../../core/parsed-json.ts'

export interface ModuleOptions {
  /** The authorizer's. */
  readonly name: string
  /** Absolute path of the file that exports the handler. */
  readonly module: string
  /** Milliseconds for one call. */
  readonly timeout: number
  /** Bytes of its heap. */
  readonly memory: number
  readonly place: { readonly region: string; readonly account: string }
  readonly log: PacedLog
  /** Milliseconds from the start of the process until its module is loaded. */
  readonly loadTimeout?: number
}

const host = fileURLToPath(new URL('module-host.ts', import.meta.url))
const mebibyte = 1024 ** 2

/** How long a process may say nothing after every call in it should have ended, before it counts as hanging. */
const graceMs = 1_000
const lookEveryMs = 200
/** What a Node process has in memory beside its old heap: itself, the young heap, compiled code. */
const besideHeap = 128 * mebibyte
/** Waits before it is started again: none after a first death, then growing; a process that lived this long begins anew. */
const restarts = { first: 200, max: 30_000 }
const healthyMs = 60_000
/** The longest message of the process: an answer, escaped; and the longest line of its output that is looked at and written. */
const maxMessage = 4 * maxAnswer
const maxLine = 65_536
const maxWritten = 1_024
/** Calls whose secrets are taken out of what the process prints. */
const rememberedCalls = 100

/**
 * What a module may not do: read files but its own folder's, write, reach the network, start anything, load native code
 * (`--permission` and nothing allowed but to read). SQLite and FFI, which open files by themselves, are not there at all.
 */
function flagsFor(folder: string, memory: number): readonly string[] {
  return [
    '--permission',
    `--allow-fs-read=${folder}`,
    `--max-old-space-size=${Math.floor(memory / mebibyte)}`,
    '--no-experimental-sqlite',
    '--no-experimental-ffi',
    '--no-experimental-webstorage',
    '--no-addons',
  ]
}

interface Call {
  readonly resolve: (answer: string) => void
  readonly reject: (error: CallFailed) => void
}

interface Running {
  readonly child: ChildProcess
  readonly input: Writable
  readonly startedAt: number
  readonly ready: Promise<void>
  readonly notReady: (error: CallFailed) => void
  /** Calls that it has not said anything about, in the order of their sending. */
  readonly open: Map<number, { readonly sentAt: number; readonly call: Call }>
  heardAt: number
  watch?: NodeJS.Timeout
}

/**
 * An authorizer that is a module: one process, started at the first call with an empty environment. It is killed when it hangs,
 * takes too much memory or talks nonsense; calls in flight fail then, and the next call starts it again.
 */
export function createModuleProcess(options: ModuleOptions): AuthorizerFunction {
  const { name, module, timeout, memory, log, place, loadTimeout = 10_000 } = options
  const secrets: (readonly string[])[] = []
  let running: Running | undefined
  let deaths = 0
  let notBefore = 0
  let lastId = 0
  let closed = false

  return {
    async invoke(event) {
      const process = running ?? start()
      await process.ready
      remember(event)
      return ask(process, event)
    },
    close() {
      closed = true
      if (running !== undefined) end(running, 'Sluice lets it go')
    },
  }

  function remember(event: AuthorizerEvent): void {
    secrets.push(secretsIn(event))
    if (secrets.length > rememberedCalls) secrets.shift()
  }

  function start(): Running {
    if (closed) throw new CallFailed('the authorizer has been closed')
    const time = performance.now()
    if (time < notBefore) throw new CallFailed('its process has ended and is not started again yet')
    const folder = dirname(realpathSync(module))
    const arn = `arn:aws:lambda:${place.region}:${place.account}:function:${name}`
    const limits = [String(Math.floor(memory / mebibyte)), String(maxAnswer)]
    const child = spawn(
      process.execPath,
      [...flagsFor(folder, memory), host, realpathSync(module), name, arn, ...limits],
      {
        cwd: folder,
        env: {},
        stdio: ['pipe', 'pipe', 'pipe', 'pipe'],
        windowsHide: true,
      },
    )
    const [input, output, errors, answers] = child.stdio as unknown as [Writable, Readable, Readable, Readable]
    const { promise: ready, resolve: isReady, reject: notReady } = Promise.withResolvers<void>()
    ready.catch(() => {})
    const own: Running = { child, input, startedAt: time, ready, notReady, open: new Map(), heardAt: time }
    running = own
    // The module alone keeps nobody alive; who waits for it has a timer of their own.
    child.unref()
    for (const stream of child.stdio) (stream as unknown as { unref?: () => void } | null)?.unref?.()
    const slow = setTimeout(() => end(own, `its module was not loaded within ${loadTimeout} ms`), loadTimeout)
    void ready.then(
      () => clearTimeout(slow),
      () => clearTimeout(slow),
    )

    input.on('error', () => {})
    for (const stream of [output, errors, answers]) stream.on('error', () => {})
    eachLine(output, maxLine, print, () => print('(a line that is too long)'))
    eachLine(errors, maxLine, print, () => print('(a line that is too long)'))
    eachLine(
      answers,
      maxMessage,
      (line) => hear(own, line, isReady),
      () => end(own, 'it said more than an answer may hold'),
    )
    child.on('error', (error) => ended(own, `its process did not start: ${messageOf(error)}`))
    child.on('exit', (code, signal) => ended(own, `its process ended (${signal ?? `code ${code}`})`))
    return own
  }

  /** Lets a process go: its calls fail, and it is running no more, whatever it still says. */
  function ended(own: Running, why: string): void {
    if (running !== own) return
    running = undefined
    own.notReady(new CallFailed(why))
    clearInterval(own.watch)
    const time = performance.now()
    deaths = time - own.startedAt > healthyMs ? 1 : deaths + 1
    notBefore = deaths < 2 ? 0 : time + backoffMs(restarts, deaths - 2)
    for (const { call } of own.open.values()) call.reject(new CallFailed(why))
    own.open.clear()
    if (!closed) log.warn('ended', { problem: why }, 'the process of an authorizer is gone')
  }

  function end(own: Running, why: string): void {
    ended(own, why)
    own.child.kill('SIGKILL')
  }

  function ask(own: Running, event: AuthorizerEvent): Promise<string> {
    return new Promise((resolve, reject) => {
      if (running !== own) return reject(new CallFailed('its process has just ended'))
      lastId += 1
      const id = lastId
      const timer = setTimeout(() => reject(new CallFailed(`no answer within ${timeout} ms`)), timeout)
      const call: Call = {
        resolve: (answer) => (clearTimeout(timer), resolve(answer)),
        reject: (error) => (clearTimeout(timer), reject(error)),
      }
      own.open.set(id, { sentAt: performance.now(), call })
      own.watch ??= setInterval(() => look(own), lookEveryMs).unref()
      const line: HostCall = { id, event, requestId: randomUUID(), timeout }
      own.input.write(`${JSON.stringify(line)}\n`)
    })
  }

  /** While there are calls in it: it must say something about them in time, and stay within its memory. */
  function look(own: Running): void {
    const [oldest] = own.open.values()
    if (oldest === undefined) {
      clearInterval(own.watch)
      delete own.watch
      return
    }
    // It answers every call within the timeout, be it with "timeout", unless its event loop stands still.
    const quiet = performance.now() - Math.max(own.heardAt, oldest.sentAt)
    if (quiet > timeout + graceMs) return end(own, `it hangs: nothing was heard of it for ${Math.round(quiet)} ms`)
    const used = own.child.pid === undefined ? undefined : residentBytes(own.child.pid)
    if (used !== undefined && used > memory + besideHeap) {
      end(
        own,
        `it takes ${Math.round(used / mebibyte)} MiB of memory, more than ${Math.round(memory / mebibyte)} MiB of its own`,
      )
    }
  }

  function hear(own: Running, line: string, isReady: () => void): void {
    if (running !== own) return
    own.heardAt = performance.now()
    const message = readMessage(line)
    if (message === undefined) return end(own, 'it said something that is no answer')
    if (message.kind === 'ready') return isReady()
    const asked = own.open.get(message.id)
    if (asked === undefined) return
    own.open.delete(message.id)
    if (message.kind === 'answer') asked.call.resolve(message.answer)
    else asked.call.reject(new CallFailed(message.why))
  }

  function print(line: string): void {
    if (line !== '') log.info('output', () => ({ said: withoutSecrets(line) }), 'an authorizer printed a line')
  }

  function withoutSecrets(line: string): string {
    let clean = line
    for (const texts of secrets)
      for (const text of texts) if (clean.includes(text)) clean = clean.replaceAll(text, '***')
    return clean.slice(0, maxWritten)
  }
}

type Heard =
  | { readonly kind: 'ready' }
  | { readonly kind: 'answer'; readonly id: number; readonly answer: string }
  | { readonly kind: 'failed'; readonly id: number; readonly why: string }

const failures: Readonly<Record<string, string>> = {
  threw: 'the handler failed',
  timeout: 'the handler gave no answer in time',
  unserializable: 'the answer cannot be written as JSON',
  'too long': `the answer has more than ${maxAnswer} characters`,
}

/** What the process said; undefined for anything but what the host says. The module can write there too. */
function readMessage(line: string): Heard | undefined {
  const value = parsedJson(line)
  if (typeof value !== 'object' || value === null) return undefined
  const { ready, id, answer, failed } = value as Readonly<Record<string, unknown>>
  if (ready === true) return { kind: 'ready' }
  if (typeof id !== 'number') return undefined
  if (typeof answer === 'string') return answer.length > maxAnswer ? undefined : { kind: 'answer', id, answer }
  if (typeof failed !== 'string' || !Object.hasOwn(failures, failed)) return undefined
  return { kind: 'failed', id, why: failures[failed] ?? '' }
}

/** Where Linux tells it; elsewhere the limit of the heap stands alone. */
function residentBytes(pid: number): number | undefined {
  try {
    const kibibytes = /^VmRSS:\s+(?<size>\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.groups?.[
      'size'
    ]
    return kibibytes === undefined ? undefined : Number(kibibytes) * 1024
  } catch {
    return undefined
  }
}
