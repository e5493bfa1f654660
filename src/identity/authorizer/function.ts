import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { AuthMethodContext } from '../method.ts'
import { CallFailed } from './call-failed.ts'
import type { AuthorizerEvent } from './event.ts'
import { createLimiter } from './limiter.ts'
import { createPacedLog } from '../../core/paced-log.ts'
import { linesPerKind } from './settings.ts'
import type { AuthorizerSettings } from './settings.ts'

/** An authorizer's function, wherever it runs. */
export interface AuthorizerFunction {
  /** The function's answer as JSON text. Rejects with a CallFailed where there is none. */
  invoke(event: AuthorizerEvent): Promise<string>
  close(): void
}

/** Calls of one authorizer at a time. */
const maxCalls = 100

export interface KeptFunction {
  /** `patient`: waits for its turn where too many calls are in flight, instead of failing. */
  readonly invoke: (event: AuthorizerEvent, patient: boolean) => Promise<string>
  readonly close: () => void
}

/** The function of an authorizer, which stays through reloads while nothing about it changes. */
export function functionOf(
  settings: AuthorizerSettings,
  fingerprint: string,
  context: AuthMethodContext,
): KeptFunction {
  return context.keep(`authorizer ${settings.name} ${fingerprint}`, () => {
    const limited = createLimiter(maxCalls)
    // Loaded at the first call: commands that only read files never get here.
    let opened: Promise<AuthorizerFunction> | undefined
    let closed = false
    return {
      async invoke(event, patient) {
        return limited(patient, async () => {
          if (closed) throw new CallFailed('the authorizer has been closed')
          opened ??= open(settings, context)
          const own = await opened
          return own.invoke(event)
        })
      },
      close() {
        closed = true
        void opened?.then((own) => own.close())
      },
    }
  })
}

async function open(settings: AuthorizerSettings, context: AuthMethodContext): Promise<AuthorizerFunction> {
  const { name, url, module, timeout, memory, ca, secret } = settings
  const { region, account } = context.place
  if (url !== undefined) {
    const { createEndpoint } = await import('./endpoint.ts')
    const arn = `arn:aws:iot:${region}:${account}:authorizer/${name}`
    return createEndpoint({
      url,
      arn,
      timeout,
      now: context.now,
      ...(ca !== undefined && { ca }),
      ...(secret !== undefined && { secret }),
    })
  }
  if (module === undefined) throw new CallFailed('the authorizer has neither a url nor a module')
  const { createModuleProcess } = await import('./module-process.ts')
  const log = createPacedLog(context.log.with({ authorizer: name }), { lines: linesPerKind })
  return createModuleProcess({ name, module, timeout, memory, place: context.place, log })
}

/**
 * Tells configurations of an authorizer apart, for all that a verdict rests on; a module by its content. A hash, because keys of
 * secrets go into it and it may stand anywhere.
 */
export function fingerprintOf(settings: AuthorizerSettings): string {
  // Neither of these changes what an answer means.
  const { status: _status, default: _default, cacheForHttp: _cache, ...rest } = settings
  const content = settings.module === undefined ? undefined : contentOf(settings.module)
  return createHash('sha256')
    .update(JSON.stringify([rest, content]))
    .digest('hex')
}

function contentOf(path: string): string {
  try {
    return createHash('sha256').update(readFileSync(path)).digest('hex')
  } catch {
    return 'unreadable'
  }
}
