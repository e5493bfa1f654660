import type { Presented, Principal, Verdict } from '../core/access.ts'
import { messageOf } from '../core/errors.ts'
import { createPacedLog } from '../core/paced-log.ts'
import { leavesToAuthorizer } from './by-name.ts'
import type { AuthMethod, Authenticate, AuthMethodContext } from './method.ts'

/** What is asked of the methods on one snapshot of the identities. */
export interface Authentication {
  readonly authenticate: Authenticate
  /** Whether somebody whom a method let in may stay; see OpenedMethod. */
  readonly renew: (presented: Presented, principal: Principal) => Promise<Verdict>
}

/** A WebSocket is asked about before its CONNECT has come, see Presented. */
function isUpgrade({ protocol, clientId }: Presented): boolean {
  return protocol === 'mqtt-ws' && clientId === undefined
}

/** One answer for all who showed something that no method knows. */
const unknown: Verdict = { kind: 'refused', reason: 'unknown principal or wrong credential' }
const failed: Verdict = { kind: 'refused', reason: 'the proof could not be checked' }

/**
 * Asks the methods in their order. The first that was shown something decides: `absent` goes on to the next, `refused`
 * ends it. A method that throws refuses: a defect must not open a door. Where nothing was shown the verdict is `absent`.
 */
export function createAuthentication(methods: readonly AuthMethod[], context: AuthMethodContext): Authentication {
  // Whoever breaks off a body that a method reads makes it throw.
  const log = createPacedLog(context.log)
  const opened = methods.map((method) => ({ type: method.type, ...method.open(context) }))

  return {
    async authenticate(presented) {
      for (const { type, authenticate } of opened) {
        const answer = guarded(type, () => authenticate(presented))
        const verdict = answer instanceof Promise ? await answer : answer
        if (verdict.kind !== 'absent') return verdict
      }
      if (presented.password === undefined && presented.bearer === undefined) return { kind: 'absent' }
      // A default authorizer is asked when a WebSocket's CONNECT has come, and may know what its upgrade showed.
      return isUpgrade(presented) && leavesToAuthorizer(context.registry, presented, undefined)
        ? { kind: 'absent' }
        : unknown
    },
    async renew(presented, principal) {
      const method = opened.find(({ type }) => type === principal.method)
      if (method === undefined) return failed
      const { type, renew, authenticate } = method
      return guarded(type, () => (renew === undefined ? authenticate(presented) : renew(presented, principal)))
    },
  }

  function guarded(type: string, ask: () => Verdict | Promise<Verdict>): Verdict | Promise<Verdict> {
    try {
      const answer = ask()
      return answer instanceof Promise ? answer.catch((error: unknown) => failedBy(type, error)) : answer
    } catch (error) {
      return failedBy(type, error)
    }
  }

  function failedBy(type: string, error: unknown): Verdict {
    log.error(type, { method: type, error: messageOf(error) }, 'an auth method failed; it refuses')
    return failed
  }
}
