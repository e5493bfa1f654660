import assert from 'node:assert/strict'
import { inspect } from 'node:util'
import { describe, it } from 'node:test'
import type { Presented } from '../../src/core/access.ts'
import type { Facts, Log } from '../../src/core/log.ts'
import { createAuthentication } from '../../src/identity/authenticate.ts'
import type { IdentityPart } from '../../src/core/identity-part.ts'
import type { AuthMethod, AuthMethodContext } from '../../src/identity/method.ts'
import type { Registry } from '../../src/identity/registry.ts'
import { authContext } from '../support/auth-context.ts'

/** What an auth method's own test brings along. */
export interface AuthMethodSubject {
  readonly method: AuthMethod
  readonly registry: Registry
  /** What the method is opened with, beside the registry; a store in memory by default. */
  readonly context?: Partial<AuthMethodContext>
  /** Shown and right, with the principal that it proves. */
  readonly valid: readonly { readonly presented: Presented; readonly principal: string }[]
  /** Shown and wrong: must hold an unknown principal and a wrong proof of a known one, by title. */
  readonly wrong: Readonly<Record<string, Presented>>
  /** Not for this method. */
  readonly absent: Readonly<Record<string, Presented>>
  /** Texts out of `valid` and `wrong` that are secret. */
  readonly secrets: readonly string[]
  /** The part whose schema `proofs` are for; the principal's proof by default. */
  readonly part?: IdentityPart
  /** Proofs that the schema takes and does not take. */
  readonly proofs: { readonly good: readonly unknown[]; readonly bad: readonly unknown[] }
}

/** What every auth method owes; called by the test of each. */
export function authMethodConformance(subject: AuthMethodSubject): void {
  const { method, registry, valid, wrong, absent, context } = subject

  describe(`auth method ${method.type}: conformance`, () => {
    it('proves the principal that was shown, and says by which method', async () => {
      for (const { presented, principal } of valid) {
        const verdict = await open().authenticate(presented)
        assert.equal(verdict.kind, 'principal')
        if (verdict.kind !== 'principal') continue
        assert.equal(verdict.principal.name, principal)
        assert.equal(verdict.principal.method, method.type)
        const entry = registry.principal(principal)
        if (entry !== undefined) assert.equal(verdict.principal.thing, entry.thing)
      }
    })

    for (const [title, presented] of Object.entries(absent)) {
      it(`says "absent" for ${title}, so that the next method is asked`, async () => {
        assert.deepEqual(await open().authenticate(presented), { kind: 'absent' })
      })
    }

    for (const [title, presented] of Object.entries(wrong)) {
      it(`refuses ${title}, and asks no later method`, async () => {
        const { log } = recorder()
        const { authenticate } = createAuthentication([method, everybody], authContext(registry, { ...context, log }))
        assert.equal((await authenticate(presented)).kind, 'refused')
      })
    }

    it('answers every wrong proof alike', async () => {
      const { authenticate } = open()
      const answers = await Promise.all(Object.values(wrong).map(async (presented) => authenticate(presented)))
      assert.ok(answers.length >= 2)
      for (const answer of answers) assert.deepEqual(answer, answers[0])
    })

    it('lets no secret into a verdict or a log line', async () => {
      const { authenticate, lines } = open()
      const answers: unknown[] = []
      for (const presented of [...valid.map((one) => one.presented), ...Object.values(wrong)]) {
        answers.push(await authenticate(presented))
      }
      const everything = inspect([answers, lines], { depth: null, maxStringLength: null })
      assert.ok(subject.secrets.length > 0)
      for (const secret of subject.secrets) assert.ok(!everything.includes(secret))
    })

    it('keeps nothing between two calls', async () => {
      const { authenticate } = open()
      const [first] = valid
      assert.ok(first !== undefined)
      for (const presented of Object.values(wrong)) {
        assert.equal((await authenticate(first.presented)).kind, 'principal')
        assert.equal((await authenticate(presented)).kind, 'refused')
      }
    })

    it('has a schema that takes its proofs and no others', () => {
      const part = subject.part ?? method.proof
      assert.ok(part !== undefined)
      for (const good of subject.proofs.good) assert.ok(part.schema.safeParse(good).success, inspect(good))
      for (const bad of subject.proofs.bad) assert.ok(!part.schema.safeParse(bad).success, inspect(bad))
    })
  })

  function open() {
    const { log, lines } = recorder()
    return { authenticate: method.open(authContext(registry, { ...context, log })).authenticate, lines }
  }
}

/** A later method that would let anybody in: what was refused must never reach it. */
const everybody = {
  type: 'everybody',
  summary: 'Lets anybody in.',
  open: () => ({
    authenticate: async () => ({ kind: 'principal', principal: { name: 'anybody', method: 'everybody' } }),
  }),
} as const satisfies AuthMethod

function recorder(): { log: Log; lines: (readonly [string, Facts])[] } {
  const lines: (readonly [string, Facts])[] = []
  const write = (facts: Facts, message: string) => void lines.push([message, facts])
  const log: Log = { debug: write, info: write, warn: write, error: write, with: () => log }
  return { log, lines }
}
