/**
 * Runs an authorizer's module: the whole program of its process (module-process.ts starts it, under `--permission`). It reads
 * calls as lines of JSON from standard input and writes what became of them to file descriptor 3. It imports nothing of ours: what
 * it may read is this file and the module's folder.
 */
import { writeSync } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import os from 'node:os'
import { createInterface } from 'node:readline'
import { pathToFileURL } from 'node:url'
import { inspect } from 'node:util'
import v8 from 'node:v8'

/** A call, as module-process.ts writes it. */
export interface HostCall {
  readonly id: number
  readonly event: unknown
  readonly requestId: string
  /** Milliseconds. */
  readonly timeout: number
}

/** What became of a call; `{ ready: true }` says that the module is loaded. */
export type HostMessage =
  | { readonly ready: true }
  | { readonly id: number; readonly answer: string }
  | { readonly id: number; readonly failed: 'threw' | 'timeout' | 'unserializable' | 'too long' }

type Callback = (error?: unknown, result?: unknown) => void
type Handler = (event: unknown, context: unknown, callback: Callback) => unknown

const [, , file = '', name = '', functionArn = '', memory = '', longest = ''] = process.argv
const answers = 3

// It ends with Sluice, and not with a Ctrl-C that Sluice takes as a wish to finish what is in hand.
process.stdin.on('end', () => process.exit(0)).resume()
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => {})
fence()
const handler = handlerOf(await import(pathToFileURL(file).href))
if (handler === undefined) {
  process.stderr.write('the module exports no function "handler"\n')
  process.exit(1)
}
createInterface({ input: process.stdin }).on('line', (line) => call(handler, JSON.parse(line) as HostCall))
say({ ready: true })

/** `exports.handler` of CommonJS, `export const handler`, or a default export that is or has it. */
function handlerOf(module: Readonly<Record<string, unknown>>): Handler | undefined {
  const whole = module['default'] as Readonly<Record<string, unknown>> | undefined
  const found = [module['handler'], whole?.['handler'], whole].find((value) => typeof value === 'function')
  return found as Handler | undefined
}

/**
 * Calls the handler as AWS Lambda does: what it does first counts, be it a promise that settles, the callback, or done, succeed or
 * fail of its context. A value that a handler without a callback returns counts as an answer too.
 */
function call(own: Handler, { id, event, requestId, timeout }: HostCall): void {
  const end = performance.now() + timeout
  let settled = false
  const settle = (outcome: { readonly answer: string } | { readonly failed: 'timeout' | 'threw' }) => {
    if (settled) return
    settled = true
    clearTimeout(timer)
    if ('answer' in outcome && outcome.answer.length > Number(longest)) return say({ id, failed: 'too long' })
    say({ id, ...outcome })
  }
  const timer = setTimeout(() => settle({ failed: 'timeout' }), timeout)
  const fail = (error: unknown) => {
    if (!settled) process.stderr.write(`${inspect(error)}\n`)
    settle({ failed: 'threw' })
  }
  const succeed = (result: unknown) => {
    if (settled) return
    let answer: string
    try {
      answer = JSON.stringify(result ?? null) ?? 'null'
    } catch {
      settled = true
      clearTimeout(timer)
      return say({ id, failed: 'unserializable' })
    }
    settle({ answer })
  }
  const callback: Callback = (error, result) => {
    if (error === undefined || error === null) succeed(result)
    else fail(error)
  }
  const context = {
    callbackWaitsForEmptyEventLoop: true,
    functionName: name,
    functionVersion: '$LATEST',
    invokedFunctionArn: functionArn,
    memoryLimitInMB: memory,
    awsRequestId: requestId,
    logGroupName: name,
    logStreamName: name,
    getRemainingTimeInMillis: () => Math.max(0, Math.round(end - performance.now())),
    done: callback,
    succeed,
    fail: (error: unknown) => fail(error ?? new Error('the handler called context.fail()')),
  }
  try {
    const returned = own(event, context, callback)
    if (isThenable(returned)) returned.then(succeed, fail)
    else if (returned !== undefined && own.length < 3) succeed(returned)
  } catch (error) {
    fail(error)
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function'
}

function say(message: HostMessage): void {
  writeSync(answers, `${JSON.stringify(message)}\n`)
}

/**
 * Takes away what `--permission` leaves of ways to act on other processes and on this one's own limits. Like the permissions
 * themselves it stops code that does what it shouldn't, and is no wall against code made to break out.
 */
function fence(): void {
  const denied = () => {
    throw Object.assign(new Error('an authorizer may not do this'), { code: 'ERR_ACCESS_DENIED' })
  }
  const take = (from: object, keys: readonly string[]) => {
    for (const key of keys) Object.defineProperty(from, key, { value: denied, writable: false, configurable: false })
  }
  take(process, ['kill', '_kill', '_debugProcess', '_debugEnd', 'abort'])
  take(os, ['setPriority'])
  take(v8, ['setFlagsFromString', 'setHeapSnapshotNearHeapLimit'])
  syncBuiltinESMExports()
}
