import assert from 'node:assert/strict'
import { after, before, describe, test, type TestContext } from 'node:test'
import type { Envelope, Failure } from '../../src/core/envelope.ts'
import { silent } from '../../src/core/log.ts'
import type { Delivery } from '../../src/core/message.ts'
import { uncounted } from '../../src/core/metrics.ts'
import { delivered, type Outcome } from '../../src/core/outcome.ts'
import type { Handled, QueueName, Queues } from '../../src/core/queue.ts'
import { Redactor } from '../../src/core/redactor.ts'
import type { RuleSet } from '../../src/core/rule.ts'
import { tallyOf } from '../../src/core/tally.ts'
import { createDeadLetterReader } from '../../src/delivery/dead-letters.ts'
import { createFailureTaker } from '../../src/delivery/failures.ts'
import { createLedger } from '../../src/delivery/ledger.ts'
import type { LedgerReport } from '../../src/delivery/ledger-report.ts'
import { createDeadLetterOperator } from '../../src/delivery/replay.ts'
import { deadLetterOfRuleFailure } from '../../src/delivery/ingest-letters.ts'
import { settleQueue } from '../../src/delivery/settle.ts'
import { createLetterKeeper } from '../../src/delivery/letter-keeper.ts'
import { startKeeping } from '../../src/delivery/keep.ts'
import { createWorkerRunner } from '../../src/delivery/worker-runner.ts'
import { enteringOf } from '../../src/queue/entering.ts'
import { createEnqueuer } from '../../src/queue/group-commit.ts'
import { type Scope, until } from '../support/cleanup.ts'
import { entryOf, envelopeOf, scripted, workerOf } from '../support/delivery.ts'
import { message, rule } from '../support/rules.ts'

export interface LedgerSuite {
  readonly name: string
  /** Prepares the store once; `open` opens its queues, each time the same ones. */
  prepare(scope: Scope): Promise<{ open(): Promise<Queues> }>
}

let owners = 0

/** What the ledger must find on every kind of queue. */
export function testLedger(suite: LedgerSuite): void {
  describe(`the ledger on ${suite.name}`, () => {
    let queues: Queues
    let reopen: () => Promise<void>
    const ends: (() => unknown)[] = []

    before(async () => {
      const prepared = await suite.prepare({ after: (end) => void ends.push(end as () => unknown) })
      queues = await prepared.open()
      // The books are begun before anything is added.
      await createLedger({ queues, workers: () => [], log: silent }).report()
      reopen = async () => {
        await queues.close()
        queues = await prepared.open()
      }
    })
    after(async () => {
      await queues.close()
      for (const end of ends.toReversed()) await end()
    })

    const fresh = () => `w${(owners += 1)}`
    const workOf = (owner: string): QueueName => ({ owner, part: 'work' })
    /** What the ledger says of one owner. */
    const reportOn = async (owner: string): Promise<Pick<LedgerReport, 'rows' | 'problems'>> => {
      const { rows, problems } = await createLedger({ queues, workers: () => [], log: silent }).report()
      return {
        rows: rows.filter(({ worker }) => worker === owner),
        problems: problems.filter((each) => each.owner === owner),
      }
    }
    const enqueue = async (owner: string, ids: readonly string[], of = 'r'): Promise<void> => {
      const enqueuer = createEnqueuer(queues)
      const deliveries: Delivery[] = [{ worker: owner, rule: of, action: 0 }]
      await Promise.all(ids.map((id) => enqueuer.enqueue(message('x', { id, at: Date.now() }), deliveries, 'set')))
    }
    const finishAll = async (owner: string, answer: (data: Envelope) => Handled<Envelope>): Promise<void> => {
      const consumer = queues.consume<Envelope>(workOf(owner), async (job) => answer(job.data), { concurrency: 1 })
      await until('all are finished', async () =>
        Object.values(await queues.counts(workOf(owner))).every((count) => count === 0),
      )
      await consumer.close(5_000)
    }
    const allDelivered = ({ entries }: Envelope): Handled<Envelope> => ({
      kind: 'done',
      tally: tallyOf(entries, 'delivered'),
    })

    test('closes over delivered, given up, error actions, dead, put back, thrown away and pending, and after a restart', async (t) => {
      const [owner, trouble] = [fresh(), fresh()]
      await enqueue(owner, ['ok-1', 'ok-2', 'bad-1', 'bad-2', 'bad-3'])
      await enqueue(owner, ['ok-3', 'bad-4'], 'handed on')
      const runner = startWorker(t, owner, ({ id }) =>
        id.startsWith('bad') ? { kind: 'rejected', reason: 'no' } : delivered,
      )
      const enqueuer = createEnqueuer(queues)
      const taker = createFailureTaker({
        queues,
        owners: () => [owner],
        rules: () => rulesWithErrorAction(owner, trouble),
        enqueue: enqueuer.enqueue.bind(enqueuer),
        log: silent,
        metrics: uncounted,
      })
      taker.start()
      const dead = { owner, part: 'dead' } as const
      await until('all are dead', async () => (await queues.counts(dead)).waiting === 3)
      await until('one was handed on', async () => (await queues.counts(workOf(trouble))).waiting === 1)
      await runner.close(5_000)
      await taker.close(5_000)
      const operator = createDeadLetterOperator({
        queues,
        reader: createDeadLetterReader(queues),
        workers: () => [owner],
        rerun: async () => 'gone',
      })
      const [first, second] = await queues.peek(dead, 0, 3)
      await operator.replay({ ids: [first?.id ?? ''] })
      await operator.purge({ ids: [second?.id ?? ''] })

      const nothing = {
        errorActions: 0,
        before: 0,
        repeated: 0,
        toErrorActions: 0,
        deadReplayed: 0,
        purged: 0,
        replayed: 0,
        dropped: {},
        dead: 0,
        pending: 0,
        difference: 0,
      }
      const expected = [
        { ...nothing, rule: 'handed on', worker: owner, accepted: 2, delivered: 1, toErrorActions: 1 },
        {
          ...nothing,
          rule: 'r',
          worker: owner,
          accepted: 5,
          replayed: 1,
          delivered: 2,
          dead: 1,
          deadReplayed: 1,
          purged: 1,
          pending: 1,
        },
      ]
      assert.deepEqual(await reportOn(owner), { rows: expected, problems: [] })
      const handedOn = {
        ...nothing,
        rule: 'handed on',
        worker: trouble,
        accepted: 0,
        errorActions: 1,
        delivered: 0,
        pending: 1,
      }
      assert.deepEqual(await reportOn(trouble), { rows: [handedOn], problems: [] })
      await reopen()
      assert.deepEqual(await reportOn(owner), { rows: expected, problems: [] })
    })

    test('dead letters of a rule that failed are counted where they are kept, and those that fall out because the config says so', async () => {
      const name = fresh()
      const keeper = createLetterKeeper({ queues, isBounded: () => false, log: silent, metrics: uncounted })
      for (let sent = 0; sent < 105; sent += 1)
        await keeper.keep(deadLetterOfRuleFailure(message('x', { id: `m${sent}` }), name, 'no'))
      const stop = startKeeping({
        queues,
        policyOf: (owner) => ({
          max: { share: 1 },
          whenFull: 'refuse',
          ...(owner === `rule:${name}` && { keep: { messages: 100 } }),
        }),
        overBy: () => 0,
        onDropped() {},
        log: silent,
        everyMs: 10,
      })
      const dead = { owner: `rule:${name}`, part: 'dead' } as const
      await until('the oldest have fallen out', async () => (await queues.counts(dead)).waiting === 100)
      stop()
      const { rows, problems } = await reportOn(`rule:${name}`)
      assert.deepEqual(problems, [])
      const [row] = rows
      assert.equal(row?.accepted, 105)
      assert.deepEqual([row?.dead, row?.dropped], [100, { 'kept-messages': 5 }])
      assert.equal(row?.difference, 0)
    })

    test('adds that are repeated, and jobs that are finished again, count once', async () => {
      const owner = fresh()
      const job = { id: 'a1', data: envelopeOf(['m']), entering: { tally: [['r', 'accepted', 1]] } } as const
      await queues.add(workOf(owner), [job])
      await queues.add(workOf(owner), [job, { ...job, id: 'b1' }])
      await finishAll(owner, allDelivered)
      // As if the process had died before it finished the job: it is there again, and finished by another.
      await queues.add(workOf(owner), [job])
      await finishAll(owner, allDelivered)
      const { rows, problems } = await reportOn(owner)
      assert.deepEqual([rows[0]?.accepted, rows[0]?.delivered, rows[0]?.difference, problems], [2, 2, 0, []])
    })

    test('what was delivered before it could be dropped counts as delivered', async () => {
      const owner = fresh()
      await enqueue(owner, ['m1', 'm2'])
      const [job] = await queues.peek(workOf(owner), 0, 1)
      await finishAll(owner, allDelivered)
      assert.equal(await queues.remove(workOf(owner), [job?.id ?? ''], 'dropped:full'), 0)
      const { rows, problems } = await reportOn(owner)
      assert.deepEqual([rows[0]?.delivered, rows[0]?.dropped, rows[0]?.difference, problems], [2, {}, 0, []])
    })

    test('names a job that was deleted behind its back', async () => {
      const owner = fresh()
      await enqueue(owner, ['m1', 'm2'])
      const [job] = await queues.peek(workOf(owner), 0, 1)
      await queues.remove(workOf(owner), [job?.id ?? ''])
      const { rows, problems } = await reportOn(owner)
      assert.deepEqual(problems, [{ kind: 'lost', owner, part: 'work', rule: 'r', job: job?.id, count: 2 }])
      assert.deepEqual([rows[0]?.accepted, rows[0]?.pending, rows[0]?.difference], [2, 0, 2])
      assert.equal((await createLedger({ queues, workers: () => [], log: silent }).report()).closed, false)
    })

    test('keeps a bounded number of entries of jobs that went without a word, and goes on counting them', async () => {
      const owner = fresh()
      const work = workOf(owner)
      const ids = Array.from({ length: 9 }, (_, index) => `a${index}`)
      const entering = { tally: [['r', 'accepted', 2]] } as const
      await queues.add(
        work,
        ids.map((id) => ({ id, data: envelopeOf(['m', 'n']), entering })),
      )
      // As a worker of a version that knows no ledger ends them; the last one waits.
      await queues.remove(work, ids.slice(0, 8))
      const settle = (mostLost: number) => settleQueue(work, { ledger: queues.ledger, since: 0, most: 2, mostLost })
      await settle(6)
      assert.equal((await queues.ledger.census(work)).entries, 9)
      await settle(3)
      assert.equal((await queues.ledger.census(work)).entries, 1)
      const { rows, problems } = await reportOn(owner)
      assert.deepEqual(
        problems.map(({ kind, count }) => [kind, count]),
        ids.slice(0, 8).map(() => ['short', 2]),
      )
      assert.deepEqual([rows[0]?.accepted, rows[0]?.pending, rows[0]?.difference], [18, 2, 16])
    })

    test('names messages that stand in two envelopes, or twice in one', async () => {
      const owner = fresh()
      const numbered = ['m1', 'm2'].map((id, number) => ({ entry: entryOf({ id }), number }))
      const add = (id: string, entries: typeof numbered) =>
        queues.add(workOf(owner), [
          { id, data: envelopeOf(entries.map(({ entry }) => entry.id)), entering: enteringOf(owner, entries) },
        ])
      await add('first-1', numbered)
      await add('second-1', numbered.slice(1))
      const { rows, problems } = await reportOn(owner)
      assert.deepEqual(problems, [{ kind: 'twice', owner, part: 'work', rule: 'r', job: 'second-1', count: 1 }])
      assert.deepEqual([rows[0]?.accepted, rows[0]?.pending, rows[0]?.difference], [2, 3, -1])

      const another = fresh()
      const both = [...numbered, ...numbered.slice(1)]
      await queues.add(workOf(another), [
        { id: 'one-1', data: envelopeOf(['m1', 'm2', 'm2']), entering: enteringOf(another, both) },
      ])
      assert.deepEqual((await reportOn(another)).problems, [
        { kind: 'twice', owner: another, part: 'work', rule: 'r', job: 'one-1', count: 1 },
      ])
    })

    test('names a job that was added behind its back, while it is there and when it has left', async () => {
      const owner = fresh()
      await enqueue(owner, ['m1'])
      await queues.add(workOf(owner), [{ id: 'copy-1', data: envelopeOf(['m1']) }])
      assert.deepEqual((await reportOn(owner)).problems, [{ kind: 'stray', owner, part: 'work', count: 1 }])
      await finishAll(owner, allDelivered)
      const { rows, problems } = await reportOn(owner)
      assert.deepEqual(problems, [{ kind: 'unentered', owner, part: 'work', rule: 'r', job: 'copy-1', count: 1 }])
      assert.deepEqual([rows[0]?.accepted, rows[0]?.delivered, rows[0]?.difference], [1, 2, -1])
    })

    test('names a job that was finished without an outcome, or without one for a message', async () => {
      const [owner, another] = [fresh(), fresh()]
      await enqueue(owner, ['m1'])
      const [job] = await queues.peek(workOf(owner), 0, 1)
      await finishAll(owner, () => ({ kind: 'done' }))
      const lost = await reportOn(owner)
      assert.deepEqual(lost.problems, [{ kind: 'lost', owner, part: 'work', rule: 'r', job: job?.id, count: 1 }])
      assert.equal(lost.rows[0]?.difference, 1)

      await enqueue(another, ['m1', 'm2'])
      const [envelope] = await queues.peek(workOf(another), 0, 1)
      await finishAll(another, ({ entries }) => ({ kind: 'done', tally: tallyOf(entries.slice(1), 'delivered') }))
      const { rows, problems } = await reportOn(another)
      assert.deepEqual(problems, [
        { kind: 'short', owner: another, part: 'work', rule: 'r', job: envelope?.id, count: 1 },
      ])
      assert.deepEqual([rows[0]?.delivered, rows[0]?.difference], [1, 1])
    })

    test('names a message that left an envelope without a word, while the rest is still there', async () => {
      const owner = fresh()
      await enqueue(owner, ['m1', 'm2'])
      const [job] = await queues.peek<Envelope>(workOf(owner), 0, 1)
      const consumer = queues.consume<Envelope>(
        workOf(owner),
        async ({ data }) => ({ kind: 'again', data: { ...data, entries: data.entries.slice(1) }, afterMs: 60_000 }),
        { concurrency: 1 },
      )
      await until('it was put back', async () => (await queues.counts(workOf(owner))).delayed === 1)
      await consumer.close(5_000)
      const { rows, problems } = await reportOn(owner)
      assert.deepEqual(problems, [{ kind: 'short', owner, part: 'work', rule: 'r', job: job?.id, count: 1 }])
      assert.deepEqual([rows[0]?.pending, rows[0]?.difference], [1, 1])
    })

    test('names what was given up and never came among the failures', async () => {
      const owner = fresh()
      await enqueue(owner, ['m1'])
      await finishAll(owner, ({ entries }) => ({ kind: 'done', tally: tallyOf(entries, 'given-up') }))
      const { rows, problems } = await reportOn(owner)
      assert.deepEqual(problems, [{ kind: 'not-handed-over', owner, part: 'work', rule: 'r', count: 1 }])
      assert.equal(rows[0]?.difference, 1)
    })

    test('closes at every moment of a busy system', async (t) => {
      const owner = fresh()
      startWorker(t, owner, ({ id }) => {
        if (id.endsWith('7')) return { kind: 'rejected', reason: 'no' }
        return Number(id.slice(1)) % 5 === 0 && Math.random() < 0.5
          ? { kind: 'retry', reason: 'later', answered: false }
          : delivered
      })
      const enqueuer = createEnqueuer(queues, { messagesPerEnvelope: 10 })
      const taker = createFailureTaker({
        queues,
        owners: () => [owner],
        rules: () => rulesWithErrorAction('nobody', 'nobody'),
        enqueue: enqueuer.enqueue.bind(enqueuer),
        log: silent,
        metrics: uncounted,
      })
      taker.start()
      t.after(() => taker.close(5_000))
      const state = { loaded: false }
      const load = async () => {
        for (let sent = 0; sent < 300; sent += 20) {
          const some = Array.from({ length: 20 }, (_, index) =>
            message('x', { id: `m${sent + index}`, at: Date.now() }),
          )
          await Promise.all(
            some.map((each) => enqueuer.enqueue(each, [{ worker: owner, rule: 'r', action: 0 }], 'set')),
          )
          await new Promise((resolve) => setTimeout(resolve, 20))
        }
      }
      const loading = load().finally(() => (state.loaded = true))
      do {
        const { rows, problems } = await reportOn(owner)
        assert.deepEqual(problems, [])
        assert.equal(rows[0]?.difference ?? 0, 0)
      } while (!state.loaded)
      await loading
      await until('all are delivered or dead', async () => {
        const parts = ['work', 'failures'] as const
        const counts = await Promise.all(parts.map((part) => queues.counts({ owner, part })))
        return counts.every(({ waiting, active, delayed }) => waiting + active + delayed === 0)
      })
      const [row] = (await reportOn(owner)).rows
      assert.deepEqual([row?.accepted, row?.delivered, row?.dead, row?.pending, row?.difference], [300, 270, 30, 0, 0])
    })

    function startWorker(t: TestContext, owner: string, answer: (item: { readonly id: string }) => Outcome) {
      const runner = createWorkerRunner({
        worker: workerOf({ name: owner }),
        forwarder: scripted(answer),
        queues,
        openCredential: async () => undefined,
        redactor: new Redactor(),
        log: silent,
        metrics: uncounted,
      })
      runner.start()
      t.after(() => runner.close(5_000))
      return runner
    }
  })
}

/** Rules of which one, `handed on`, has an error action. */
function rulesWithErrorAction(owner: string, trouble: string): RuleSet {
  return {
    hash: 'hash',
    rules: [rule({ name: 'handed on', to: [{ worker: owner }] })],
    evaluate: async () => [],
    errorActions: async ({ entry }: Failure) => [{ worker: trouble, rule: entry.rule, action: 1, error: true }],
  } as unknown as RuleSet
}
