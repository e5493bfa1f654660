import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { z } from 'zod'
import type { Credential } from '../../src/core/credential.ts'
import type { AnyForwarderDefinition, Forwarder, Item } from '../../src/core/forwarder.ts'
import type { Outcome } from '../../src/core/outcome.ts'
import { type Scope, until } from '../support/cleanup.ts'
import { itemOf, itemsOf } from '../support/items.ts'
import { keepLines, type Lines } from '../support/logs.ts'

/** A far side in some state, and what a worker that points at it says. */
export interface FarSide {
  /** As in the worker's file. */
  readonly settings: Readonly<Record<string, unknown>>
  readonly credential?: Credential
}

/** What a forwarder's own test brings along. Each function makes a far side for one test. */
export interface ForwarderSubject {
  readonly definition: AnyForwarderDefinition
  /** Takes everything; `arrived` says how many messages it has, given the log that the forwarder writes to. */
  readonly taking: (scope: Scope) => Promise<FarSide & { readonly arrived: (log: Lines) => number | Promise<number> }>
  /** Nothing is there; left out where there is no far side that could be away. */
  readonly away?: (scope: Scope) => Promise<FarSide>
  /** Takes the connection and says nothing until `received` holds; left out as above. */
  readonly hanging?: (scope: Scope) => Promise<FarSide & { readonly received: () => boolean }>
  /** States in which nothing can be delivered until someone acts, by title. */
  readonly blocked: Readonly<Record<string, (scope: Scope) => Promise<FarSide>>>
  /** Messages that `taking` never takes, by title. */
  readonly bad?: Readonly<Record<string, Item>>
  /** Options without which no message can be sent; every message gets them. */
  readonly needed?: Readonly<Record<string, unknown>>
  /** Options that a rule may write, so that hostile messages come with some. */
  readonly options?: Readonly<Record<string, unknown>>
  /** Texts of credentials used above. */
  readonly secrets: readonly string[]
}

/** What every kind of worker owes; called by the test of each. */
export function forwarderConformance(subject: ForwarderSubject): void {
  const { definition, taking, away, hanging, blocked, bad = {} } = subject

  describe(`forwarder ${definition.kind}: conformance`, () => {
    it('gives one outcome per message, and all of them arrive', async (t) => {
      const far = await taking(t)
      const { forwarder, log } = await open(t, subject, far)
      const count = Math.min(definition.limits.messages, 10)
      assert.deepEqual(kinds(await send(subject, forwarder, itemsOf(count))), Array(count).fill('delivered'))
      await until(`${count} messages at the far side`, async () => (await far.arrived(log)) === count)
    })

    it('gives nothing for nothing', async (t) => {
      const { forwarder } = await open(t, subject, await taking(t))
      assert.deepEqual(await forwarder.send([], new AbortController().signal), [])
    })

    it('takes batches side by side', async (t) => {
      const far = await taking(t)
      const { forwarder, log } = await open(t, subject, far)
      const batches = await Promise.all([1, 2, 3, 4].map(() => send(subject, forwarder, itemsOf(3))))
      for (const outcomes of batches) assert.deepEqual(kinds(outcomes), Array(3).fill('delivered'))
      await until('12 messages at the far side', async () => (await far.arrived(log)) === 12)
    })

    for (const [title, item] of Object.entries(bad)) {
      it(`rejects ${title}, and delivers its neighbours`, async (t) => {
        const far = await taking(t)
        const { forwarder, log } = await open(t, subject, far)
        const [before, after] = itemsOf(2)
        assert(before !== undefined && after !== undefined)
        const outcomes = await send(subject, forwarder, [before, item, after])
        assert.deepEqual(kinds(outcomes), ['delivered', 'rejected', 'delivered'])
        await until('2 messages at the far side', async () => (await far.arrived(log)) === 2)
      })
    }

    if (away !== undefined) {
      it('answers "retry", not answered, for each message while the far side is away', async (t) => {
        const { forwarder } = await open(t, subject, await away(t))
        const outcomes = await send(subject, forwarder, itemsOf(3))
        assert.equal(outcomes.length, 3)
        for (const outcome of outcomes) assertUnanswered(outcome)
      })
    }

    if (hanging !== undefined) {
      it('ends soon after it is told to, with "retry", not answered', async (t) => {
        const far = await hanging(t)
        const { forwarder } = await open(t, subject, far)
        const controller = new AbortController()
        const sending = send(subject, forwarder, itemsOf(3), controller.signal)
        await until('the far side to have the request', far.received)
        controller.abort(new Error('enough'))
        const outcomes = await sending
        assert.equal(outcomes.length, 3)
        for (const outcome of outcomes) assertUnanswered(outcome)
      })
    }

    it('sends nothing, or all of it, when it was told to end before it began', async (t) => {
      const far = await taking(t)
      const { forwarder, log } = await open(t, subject, far)
      const outcomes = await send(subject, forwarder, itemsOf(3), AbortSignal.abort(new Error('enough')))
      assert.equal(outcomes.length, 3)
      const said = outcomes.filter(({ kind }) => kind === 'delivered').length
      for (const outcome of outcomes) if (outcome.kind !== 'delivered') assertUnanswered(outcome)
      assert.equal(await far.arrived(log), said)
    })

    for (const [title, start] of Object.entries(blocked)) {
      it(`is blocked: ${title}`, async (t) => {
        const far = await start(t)
        // What shows at once may be said by opening; delivery/ treats that alike.
        const opened = await open(t, subject, far).catch((error: unknown) => error as Error)
        if (opened instanceof Error) return assertSecretFree(subject, opened.message)
        for (const outcome of await send(subject, opened.forwarder, itemsOf(3))) {
          assert.equal(outcome.kind, 'blocked')
        }
      })
    }

    it('has an outcome for messages of a hostile device', async (t) => {
      const { forwarder } = await open(t, subject, await taking(t))
      for (const item of hostile(subject.options ?? {})) {
        const [outcome] = await send(subject, forwarder, [item])
        assert.ok(outcome !== undefined)
      }
    })

    it('takes no setting and no option that it does not know', () => {
      assert.equal(definition.settings.safeParse({ nonsense: 1 }).success, false)
      assert.equal(definition.with.safeParse({ ...subject.needed, ...subject.options, nonsense: 1 }).success, false)
      assert.equal(definition.with.safeParse({ ...subject.needed, ...subject.options }).success, true)
    })

    it('closes, and can be closed while nothing was ever sent', async (t) => {
      const { forwarder } = await open(t, subject, await taking(t))
      await forwarder.close()
    })
  })
}

async function open(scope: Scope, subject: ForwarderSubject, far: FarSide) {
  const { definition, secrets } = subject
  const log = keepLines()
  const settings: unknown = (definition.settings as z.ZodType).parse(far.settings)
  const context = { worker: 'w', signal: new AbortController().signal, log }
  const forwarder = await definition.open(settings, {
    ...context,
    ...(far.credential !== undefined && { credential: far.credential }),
  })
  scope.after(async () => {
    await forwarder.close()
    for (const secret of secrets) assert.ok(!JSON.stringify(log.lines).includes(secret), 'a secret is in the log')
  })
  return { forwarder, log }
}

async function send(
  subject: ForwarderSubject,
  forwarder: Forwarder,
  items: readonly Item[],
  signal = new AbortController().signal,
): Promise<readonly Outcome[]> {
  // As delivery/ does: options go through the schema, which fills in what was left out.
  const options = (item: Item) => subject.definition.with.parse({ ...subject.needed, ...item.with })
  const outcomes = await forwarder.send(
    items.map((item) => ({ ...item, with: options(item) })),
    signal,
  )
  for (const outcome of outcomes) {
    if (outcome.kind === 'delivered') continue
    assert.ok(outcome.reason.length > 0 && outcome.reason.length < 1_000, `a reason of ${outcome.reason.length}`)
    assert.ok(!/[\p{Cc}]/u.test(outcome.reason), 'a reason on one line, without control characters')
    assertSecretFree(subject, outcome.reason)
  }
  return outcomes
}

function hostile(options: Readonly<Record<string, unknown>>): Item[] {
  const texts = [
    '__proto__',
    'constructor',
    '../../x',
    'a\r\nX-Evil: 1',
    '\u001b[2J\u009b2J',
    '\ud800',
    'é/ü',
    ' ',
    "';--",
  ]
  return texts.flatMap((text) => [
    itemOf({ key: text, rule: text, topic: text, principal: text, thing: text, clientId: text, with: options }),
    itemOf({ payload: text, with: options }),
    itemOf({
      payload: Buffer.from([0, 255, 10, 13, ...Buffer.from(text)]),
      properties: { contentType: text, responseTopic: text, userProperties: [[text, text]] },
      with: options,
    }),
    itemOf({ payload: '', with: options }),
  ])
}

function kinds(outcomes: readonly Outcome[]): readonly string[] {
  return outcomes.map(({ kind }) => kind)
}

function assertUnanswered(outcome: Outcome): void {
  assert.equal(outcome.kind, 'retry')
  assert.equal(outcome.kind === 'retry' && outcome.answered, false)
}

function assertSecretFree({ secrets }: ForwarderSubject, text: string): void {
  for (const secret of secrets) assert.ok(!text.includes(secret), 'a secret is in a reason')
}
