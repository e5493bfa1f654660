import { messageOf } from '../core/errors.ts'
import type { Verdict } from '../core/access.ts'
import type { AuthMethod, Authenticate, AuthMethodContext } from './method.ts'

/**
 * Asks the methods in their order. The first that was shown something decides: `absent` goes on to the next, `refused`
 * ends it. A method that throws refuses: a defect must not open a door. Where nothing was shown the verdict is `absent`.
 */
export function createAuthenticate(methods: readonly AuthMethod[], context: AuthMethodContext): Authenticate {
  const opened = methods.map((method) => ({ type: method.type, ask: method.open(context) }))

  return async function authenticate(presented): Promise<Verdict> {
    for (const { type, ask } of opened) {
      try {
        const verdict = await ask(presented)
        if (verdict.kind !== 'absent') return verdict
      } catch (error) {
        context.log.error({ method: type, error: messageOf(error) }, 'an auth method failed; it refuses')
        return { kind: 'refused', reason: 'the proof could not be checked' }
      }
    }
    return { kind: 'absent' }
  }
}
