import type { Access, Presented, Verdict } from '../core/access.ts'
import type { FloodGuard } from '../identity/flood-guard.ts'

/** One answer for every attempt that is not looked at. */
function tooMany(afterMs: number): Verdict {
  return { kind: 'refused', reason: 'too many failed attempts', afterMs }
}

/** The access that doors get: who has failed too often is told so before anything of the attempt is looked at. */
export function guardedAccess(access: () => Access, guard: FloodGuard): () => Access {
  const guarded = new WeakMap<Access, Access>()
  return () => {
    const current = access()
    let known = guarded.get(current)
    if (known === undefined) {
      known = { ...current, authenticate: (presented) => authenticate(current, presented) }
      guarded.set(current, known)
    }
    return known
  }

  async function authenticate(current: Access, presented: Presented): Promise<Verdict> {
    const limited = showsNothingYet(presented) ? undefined : guard.ask(presented)
    if (limited !== undefined) return tooMany(limited.wait)
    const [body, bodyFailed] = watched(presented)
    const verdict = await current.authenticate(body)
    if (verdict.kind === 'principal') guard.succeeded(presented)
    // Neither what was not looked at, nor a body that broke off, says anything of a credential.
    if (verdict.kind === 'refused' && verdict.afterMs === undefined && !bodyFailed()) guard.failed(presented)
    return verdict
  }
}

/** A WebSocket whose upgrade says nothing of who it is: its CONNECT will, and then is the time to count it. */
function showsNothingYet({ protocol, clientId, bearer, tls, http }: Presented): boolean {
  if (protocol !== 'mqtt-ws' || clientId !== undefined) return false
  const shows = bearer !== undefined || tls?.certificate !== undefined || http?.headers['authorization'] !== undefined
  return !shows && (http?.query ?? '') === ''
}

/** The same, and whether its body could not be read when somebody asked for it. */
function watched(presented: Presented): readonly [Presented, () => boolean] {
  const { http } = presented
  const read = http?.body
  if (http === undefined || read === undefined) return [presented, () => false]
  let failed = false
  const body = (): Promise<Buffer> =>
    read().catch((error: unknown) => {
      failed = true
      throw error
    })
  return [{ ...presented, http: { ...http, body } }, () => failed]
}
