import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import * as fc from 'fast-check'
import { z } from 'zod'
import type { Envelope, Failure, FailureBatch } from '../../src/core/envelope.ts'
import { SluiceError } from '../../src/core/errors.ts'
import type { AnyForwarderDefinition, Forwarder } from '../../src/core/forwarder.ts'
import { delivered, type Outcome } from '../../src/core/outcome.ts'
import type { Queues } from '../../src/core/queue.ts'
import { Redactor } from '../../src/core/redactor.ts'
import { createWorkerRunner, type WorkerRunnerOptions } from '../../src/delivery/worker-runner.ts'
import { until } from '../support/cleanup.ts'
import { countingMetrics, entryOf, envelopeOf, quick, recordingLog, scripted, workerOf } from '../support/delivery.ts'
import { createMemoryQueues, type MemoryQueues } from '../support/memory-queues.ts'

const work = { owner: 'w', part: 'work' } as const
const failed = { owner: 'w', part: 'failures' } as const
const busy = { kind: 'retry', reason: 'busy', answered: true } as const
const down = { kind: 'retry', reason: 'connection refused', answered: false } as const
const probe = { first: 5, max: 20 }

describe('worker runner', () => {
  it('sends an envelope in batches within the limits, and is done with it', async (t) => {
    const forwarder = scripted(() => delivered, { limits: { messages: 2, bytes: 1_000 } })
    const { queues, metrics } = await run(t, forwarder, [envelopeOf(['a', 'b', 'c'])])
    await empty(queues)
    assert.deepEqual(forwarder.batches.map((batch) => batch.join('')).sort(), ['ab', 'c'])
    assert.deepEqual(failures(queues), [])
    assert.equal(metrics.value('sluice_deliveries_total', { worker: 'w', outcome: 'delivered' }), 3)
  })

  it('never has more sends in flight than its concurrency, over all its envelopes', async (t) => {
    let inFlight = 0
    let most = 0
    const forwarder = scripted(() => delivered, {
      limits: { messages: 1, bytes: 1_000 },
      send: async () => {
        inFlight += 1
        most = Math.max(most, inFlight)
        await new Promise((resolve) => setImmediate(resolve))
        inFlight -= 1
        return [delivered]
      },
    })
    const envelopes = Array.from({ length: 6 }, (_, index) => envelopeOf([`${index}a`, `${index}b`, `${index}c`]))
    const { queues } = await run(t, forwarder, envelopes, {
      worker: workerOf({ delivery: { ...quick, concurrency: 3 } }),
    })
    await empty(queues)
    assert.equal(most, 3)
  })

  it('tries again only what is undelivered, until its attempts are spent', async (t) => {
    const forwarder = scripted((item) => (item.id === 'b' ? busy : delivered))
    const { queues, metrics } = await run(t, forwarder, [envelopeOf(['a', 'b', 'c'])])
    await until('the failure', () => failures(queues).length === 1)
    await empty(queues)
    assert.deepEqual(forwarder.batches, [['a', 'b', 'c'], ['b'], ['b']])
    const [failure] = failures(queues)
    assert.equal(failure?.kind, 'exhausted')
    assert.equal(failure?.worker, 'w')
    assert.equal(failure?.entry.attempts, 3)
    assert.equal(failure?.entry.in, 'payload of b')
    assert.equal(failure?.entry.errors?.length, 3)
    assert.equal(metrics.value('sluice_deliveries_total', { worker: 'w', outcome: 'retried' }), 2)
    assert.equal(metrics.value('sluice_deliveries_total', { worker: 'w', outcome: 'failed' }), 1)
  })

  it('outlasts a network failure without spending an attempt', async (t) => {
    let tries = 0
    const { queues } = await run(
      t,
      scripted(() => ((tries += 1), tries < 8 ? down : delivered)),
      [envelopeOf(['a'])],
    )
    await empty(queues)
    assert.equal(tries, 8)
    assert.deepEqual(failures(queues), [])
  })

  it('gives up by age what never gets an answer', async (t) => {
    const worker = workerOf({ delivery: { ...quick, age: 60 } })
    const { queues } = await run(
      t,
      scripted(() => down),
      [envelopeOf(['a'])],
      { worker },
    )
    await until('the failure', () => failures(queues).length === 1)
    await empty(queues)
    assert.equal(failures(queues)[0]?.kind, 'expired')
    assert.equal(failures(queues)[0]?.entry.attempts, 0)
  })

  it('does not send what is too old already', async (t) => {
    const forwarder = scripted(() => delivered)
    const envelope = { ...envelopeOf([]), entries: [entryOf({ id: 'old', at: 1 }), entryOf({ id: 'new' })] }
    const { queues } = await run(t, forwarder, [envelope])
    await until('the failure', () => failures(queues).length === 1)
    await empty(queues)
    assert.deepEqual(forwarder.batches, [['new']])
    assert.equal(failures(queues)[0]?.kind, 'expired')
  })

  it('waits as long as the far side asks, but not past the age of the message', async (t) => {
    const worker = workerOf({ delivery: { ...quick, age: 100 } })
    const forwarder = scripted(() => ({ ...busy, afterMs: 3_600_000 }))
    const { queues } = await run(t, forwarder, [envelopeOf(['a'])], { worker })
    await until('the failure', () => failures(queues).length === 1)
    assert.equal(failures(queues)[0]?.kind, 'expired')
    assert.equal(forwarder.batches.length, 1)
  })

  it('sends the messages of one envelope when each is due, not when the last of them is', async (t) => {
    const tries: string[] = []
    const forwarder = scripted(({ id }) => {
      tries.push(id)
      if (tries.filter((each) => each === id).length > 1) return delivered
      return id === 'a' ? { ...busy, afterMs: 3_600_000 } : id === 'b' ? { ...busy, afterMs: 30 } : busy
    })
    const worker = workerOf({ delivery: { ...quick, age: 7_200_000 } })
    const { queues } = await run(t, forwarder, [envelopeOf(['a', 'b', 'c'])], { worker })
    await until('the others are gone', () => queues.all<Envelope>(work)[0]?.data.entries.length === 1)
    assert.deepEqual(tries, ['a', 'b', 'c', 'c', 'b'])
    await until('it is put back', async () => (await queues.counts(work)).delayed === 1)
  })

  it("rejects what the forwarder's options do not take, and sends the rest", async (t) => {
    const forwarder = scripted(() => delivered, { with: z.strictObject({ group: z.string() }) })
    const entries = [entryOf({ id: 'a', with: { group: 7 } }), entryOf({ id: 'b', with: { group: 'g' } })]
    const { queues } = await run(t, forwarder, [{ ...envelopeOf([]), entries }])
    await until('the failure', () => failures(queues).length === 1)
    await empty(queues)
    assert.deepEqual(forwarder.batches, [['b']])
    assert.equal(failures(queues)[0]?.kind, 'rejected')
    assert.match(failures(queues)[0]?.reason ?? '', /with\.group/)
  })

  it('keeps secrets out of failures and the log', async (t) => {
    const redactor = new Redactor()
    redactor.add('hunter2-hunter2')
    const forwarder = scripted(() => ({ kind: 'rejected', reason: 'bad key hunter2-hunter2' }))
    const { queues, log } = await run(t, forwarder, [envelopeOf(['a'])], { redactor })
    await until('the failure', () => failures(queues).length === 1)
    assert.ok(!JSON.stringify([failures(queues), log.lines]).includes('hunter2'))
  })

  it('leaves an envelope that it cannot read in the queue, and says so once', async (t) => {
    const queues = createMemoryQueues()
    const alien = { v: 9, set: 's', entries: [] } as Envelope
    const { log } = await run(
      t,
      scripted(() => delivered),
      [alien, alien, { v: 1, set: 's' } as unknown as Envelope],
      { queues },
    )
    await until('both complaints', () => log.lines.length === 2)
    await until('all put back', async () => (await queues.counts(work)).delayed === 3)
    assert.deepEqual(
      queues.all<Envelope>(work).map((job) => job.data.v),
      [9, 9, 1],
    )
    assert.match(JSON.stringify(log.lines), /version 9/)
  })

  describe('blocked', () => {
    it('pauses, says why once, probes, and goes on when someone has acted', async (t) => {
      let broken = true
      const forwarder = scripted(() => (broken ? { kind: 'blocked', reason: 'the queue does not exist' } : delivered), {
        check: async () => {
          if (broken) throw new Error('the queue does not exist')
        },
      })
      const envelopes = Array.from({ length: 20 }, (_, index) => envelopeOf([`m${index}`]))
      const { queues, runner, metrics, log } = await run(t, forwarder, envelopes)
      await until('blocked', () => runner.state().state === 'blocked')
      assert.equal(metrics.value('sluice_worker_blocked', { worker: 'w' }), 1)
      const state = runner.state()
      assert.equal(state.state === 'blocked' && state.reason, 'the queue does not exist')
      assert.ok(forwarder.batches.length <= quick.concurrency, 'it does not try them all')
      broken = false
      await empty(queues)
      assert.equal(runner.state().state, 'running')
      assert.equal(metrics.value('sluice_worker_blocked', { worker: 'w' }), 0)
      assert.equal(log.lines.filter(({ level }) => level === 'error').length, 1)
      assert.deepEqual(failures(queues), [])
    })

    it('shows between blocks that they come back, where one message among others causes them', async (t) => {
      const forwarder = scripted(
        ({ id }) => (id === 'poison' ? { kind: 'blocked', reason: 'no such topic' } : delivered),
        {
          check: async () => {},
          limits: { messages: 1, bytes: 1_000 },
        },
      )
      const worker = workerOf({ delivery: { ...quick, concurrency: 1 } })
      const { runner, log } = await run(t, forwarder, [envelopeOf(['poison']), envelopeOf(['m1'])], { worker })
      const blocks = () => log.lines.filter(({ level }) => level === 'error').length
      await until('it was blocked three times', () => blocks() >= 3)
      const between = await until('a moment between blocks', () => {
        const state = runner.state()
        return state.state !== 'blocked' && state
      })
      assert.deepEqual([between.state, 'reason' in between && between.reason], ['recovering', 'no such topic'])
      const { since } = between as { readonly since: number }
      const later = await until('it is blocked again', () => {
        const state = runner.state()
        return state.state === 'blocked' && state
      })
      assert.equal(later.since, since, 'and it began with the first')
    })

    it('probes with one batch where the forwarder has no check', async (t) => {
      let broken = true
      const forwarder = scripted(() => (broken ? { kind: 'blocked', reason: 'no' } : delivered))
      const envelopes = Array.from({ length: 20 }, (_, index) => envelopeOf([`m${index}`]))
      const { queues } = await run(t, forwarder, envelopes)
      await until('some probes', () => forwarder.batches.length >= 5)
      assert.equal(queues.all(work).length, 20)
      broken = false
      await empty(queues)
      assert.deepEqual(failures(queues), [])
    })

    it('spends no attempt, but still gives up what is too old', async (t) => {
      const forwarder = scripted(() => ({ kind: 'blocked', reason: 'no' }), {
        check: async () => {
          throw new Error('no')
        },
      })
      const worker = workerOf({ delivery: { ...quick, age: 150 } })
      const envelopes = Array.from({ length: 8 }, (_, index) => envelopeOf([`m${index}`]))
      const { queues, runner } = await run(t, forwarder, envelopes, { worker })
      await until('all given up', () => failures(queues).length === 8)
      await empty(queues)
      assert.equal(runner.state().state, 'blocked')
      for (const failure of failures(queues)) {
        assert.equal(failure.kind, 'expired')
        assert.equal(failure.entry.attempts, 0)
      }
    })

    it('is what a worker is whose credential cannot be opened, and ends when it can', async (t) => {
      let missing = true
      const openCredential = async () => {
        if (missing) throw new SluiceError('CREDENTIAL_FAILED', 'the key file is not there')
        return undefined
      }
      const { queues, runner } = await run(
        t,
        scripted(() => delivered),
        [envelopeOf(['a'])],
        { openCredential },
      )
      await until('blocked', () => runner.state().state === 'blocked')
      missing = false
      await empty(queues)
      assert.equal(runner.state().state, 'running')
    })
  })

  describe('away', () => {
    it('holds the queue while the far side gives no answer, tries one batch at a time, and goes on by itself', async (t) => {
      let isDown = true
      const forwarder = scripted(() => (isDown ? down : delivered))
      const envelopes = Array.from({ length: 40 }, (_, index) => envelopeOf([`m${index}`]))
      const worker = workerOf({ delivery: { ...quick, backoff: { first: 100, max: 100 } } })
      const settings = { probe: { first: 100, max: 100 } }
      const { queues, runner, metrics, log } = await run(t, forwarder, envelopes, { worker, settings })
      await until('away', () => runner.state().state === 'away')
      const before = forwarder.batches.length
      assert.ok(before <= 5 + quick.concurrency, `${before} of 40 were tried`)
      await until('it is tried again', () => forwarder.batches.length >= before + 2)
      assert.equal(metrics.value('sluice_worker_blocked', { worker: 'w' }), 0, 'nobody has to act')
      isDown = false
      await empty(queues)
      assert.equal(runner.state().state, 'running')
      assert.deepEqual(failures(queues), [])
      assert.equal(log.lines.filter(({ level }) => level === 'warn').length, 1)
    })

    it('goes on trying whatever one message was asked to wait; that message waits, and the others go', async (t) => {
      const hour = 3_600_000
      let isDown = false
      const forwarder = scripted(
        ({ id }) => (id === 'asked' ? { ...down, afterMs: hour } : isDown ? down : delivered),
        { limits: { messages: 1, bytes: 1_000 } },
      )
      const worker = workerOf({ delivery: { ...quick, age: 24 * hour } })
      const queues = createMemoryQueues()
      const { runner } = await run(t, forwarder, [envelopeOf(['asked', 'beside it'])], {
        worker,
        queues,
      })
      await until('its neighbour is delivered, and it is not', () => {
        const [job] = queues.all<Envelope>(work)
        return job?.data.entries.map(({ id }) => id).join() === 'asked'
      })
      isDown = true
      const others = Array.from({ length: 9 }, (_, index) => ({ id: `k${index}`, data: envelopeOf([`m${index}`]) }))
      await queues.add(work, others)
      await until('away', () => runner.state().state === 'away')
      isDown = false
      await until('the others are delivered', () => queues.all(work).length === 1)
      assert.equal(runner.state().state, 'running')
      assert.equal(forwarder.batches.filter(([id]) => id === 'asked').length, 1)
    })
  })

  describe('a message that kills the process', () => {
    it('is found by sending alone and given up; its neighbours are delivered', async (t) => {
      const queues = createMemoryQueues()
      await queues.add(work, [{ id: 'j', data: envelopeOf(['a', 'b', 'killer', 'c']) }])
      const { deaths, taken } = await liveAndDie(t, queues)
      assert.equal(deaths, 5)
      const [failure, ...others] = failures(queues)
      assert.deepEqual(others, [])
      assert.equal(failure?.kind, 'crashed')
      assert.equal(failure?.reason, 'crashed the worker')
      assert.equal(failure?.entry.id, 'killer')
      assert.deepEqual(taken, ['a', 'b', 'c'])
    })

    it('does not take along innocent envelopes that were in hand each time', async (t) => {
      const queues = createMemoryQueues()
      await queues.add(work, [
        { id: 'j1', data: envelopeOf(['a', 'b']) },
        { id: 'j2', data: envelopeOf(['killer']) },
        { id: 'j3', data: envelopeOf(['c', 'd']) },
      ])
      // While envelopes are sent whole, the innocent hang until the death; so they are in hand each time.
      const { taken } = await liveAndDie(t, queues, { concurrency: 3, hangs: (deaths) => deaths < 3 })
      assert.deepEqual(
        failures(queues).map(({ entry }) => entry.id),
        ['killer'],
      )
      assert.deepEqual(taken.sort(), ['a', 'b', 'c', 'd'])
    })

    it('is found where an envelope holds two of them', async (t) => {
      const queues = createMemoryQueues()
      await queues.add(work, [{ id: 'j', data: envelopeOf(['a', 'killer 1', 'b', 'killer 2', 'c']) }])
      const { deaths, taken } = await liveAndDie(t, queues)
      assert.equal(deaths, 7)
      const given = failures(queues).map(({ entry, kind }) => `${entry.id}: ${kind}`)
      assert.deepEqual(given, ['killer 1: crashed', 'killer 2: crashed'])
      assert.deepEqual(taken, ['a', 'b', 'c'])
    })
  })

  it('stores what is delivered while a later batch is slow, so that a death does not send it twice', async (t) => {
    const forwarder = scripted(() => delivered, {
      limits: { messages: 1, bytes: 100 },
      send: async ([item]) => (item?.id === 'slow' ? new Promise(() => {}) : [delivered]),
    })
    await dieWhileSlow(t, forwarder)
  })

  it('stores what has arrived of one batch while the rest of it is slow', async (t) => {
    const forwarder = scripted(() => delivered, {
      send: (items, _signal, arrived) => {
        for (const [place, { id }] of items.entries()) if (id !== 'slow') arrived?.(place)
        return new Promise(() => {})
      },
    })
    await dieWhileSlow(t, forwarder)
  })

  async function dieWhileSlow(t: TestContext, forwarder: AnyForwarderDefinition): Promise<void> {
    const queues = createMemoryQueues()
    await queues.add(work, [{ id: 'j', data: envelopeOf(['a', 'slow', 'b']) }])
    const process = queues.process()
    start(t, forwarder, { queues: process, settings: { probe, progressMs: 5 } })
    const stored = () => queues.all<Envelope>(work)[0]?.data.entries.map(({ id }) => id)
    await until('the progress is stored', () => stored()?.join() === 'slow')
    process.die()
    const second = scripted(() => delivered)
    start(t, second, { queues })
    await empty(queues)
    assert.deepEqual(second.batches, [['slow']])
  }

  it('keeps what it gave up until the queue takes it', async (t) => {
    const queues = createMemoryQueues()
    const forwarder = scripted(() => ((queues.away = true), { kind: 'rejected', reason: 'no' }))
    const { log } = await run(t, forwarder, [envelopeOf(['a'])], { queues })
    await until('it says so', () => log.lines.some(({ message }) => message.includes('the queue takes nothing now')))
    assert.equal(queues.all(work).length, 1)
    queues.away = false
    await until('the failure', () => failures(queues).length === 1)
    await empty(queues)
  })

  it('finishes what is in hand when it is closed, and closes the forwarder', async (t) => {
    let finish: () => void = () => {}
    const forwarder = scripted(() => new Promise((resolve) => (finish = () => resolve(delivered))))
    const { queues, runner } = await run(t, forwarder, [envelopeOf(['a'])])
    await until('it is being sent', () => forwarder.batches.length === 1)
    const closing = runner.close(10_000)
    finish()
    await closing
    assert.equal(queues.all(work).length, 0)
    assert.equal(forwarder.closed(), 1)
    assert.equal(runner.state().state, 'closed')
  })

  it('puts back what is not delivered at the deadline, without an attempt, an error or a death', async (t) => {
    const forwarder = scripted(() => delivered, {
      limits: { messages: 1, bytes: 100 },
      send: async ([item], signal) =>
        item?.id === 'a'
          ? [delivered]
          : new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('aborted')))),
    })
    const { queues, runner } = await run(t, forwarder, [envelopeOf(['a', 'b', 'c', 'd'])])
    await until('the slots are full', () => forwarder.batches.length === 3)
    await runner.close(100)
    const [job] = queues.all<Envelope>(work)
    assert.deepEqual(
      job?.data.entries.map(({ id, attempts, errors }) => [id, attempts, errors]),
      [
        ['b', 0, undefined],
        ['c', 0, undefined],
        ['d', 0, undefined],
      ],
    )
    const deaths: number[] = []
    queues.consume(work, async (again) => (deaths.push(again.deaths), { kind: 'done' }), { concurrency: 1 })
    await until('it is taken up', () => deaths.length === 1)
    assert.deepEqual(deaths, [0])
    await queues.close()
  })

  it('ends every message exactly once, delivered or given up, whatever the forwarder does', async (t) => {
    const behaviour = fc.array(
      fc.constantFrom(
        'delivered',
        'busy',
        'down',
        'rejected',
        'blocked',
        'throws',
        'missing',
        'dies',
      ) as fc.Arbitrary<Act>,
      { maxLength: 6 },
    )
    const envelopes = fc.array(fc.array(behaviour, { minLength: 1, maxLength: 5 }), { minLength: 1, maxLength: 4 })
    await fc.assert(
      fc.asyncProperty(envelopes, fc.integer({ min: 1, max: 4 }), async (plan, messages) => {
        const queues = createMemoryQueues()
        const acts = new Map<string, Act[]>(
          plan.flatMap((one, e) => one.map((acts, m) => [`${e}-${m}`, [...acts]] as const)),
        )
        const someoneDies = plan.flat(2).includes('dies')
        const taken: string[] = []
        const live = () => {
          const process = queues.process()
          const send: Forwarder['send'] = async (items) => {
            const plan = items.map((item) => acts.get(item.id)?.shift() ?? 'delivered')
            if (plan.includes('throws')) throw new Error('defect')
            const known = plan.findIndex((act) => act === 'missing' || act === 'dies')
            const said = known === -1 ? plan : plan.slice(0, known)
            taken.push(...items.filter((_, index) => said[index] === 'delivered').map(({ id }) => id))
            if (plan[known] === 'dies') process.die()
            return said.map(outcomeOf)
          }
          const forwarder = scripted(() => delivered, { limits: { messages, bytes: 1_000 }, send })
          const die = process.die.bind(process)
          process.die = () => {
            die()
            setImmediate(live)
          }
          start(t, forwarder, { queues: process, settings: { probe: { first: 1, max: 2 } } })
        }
        for (const [e, one] of plan.entries()) {
          await queues.add(work, [{ id: `j${e}`, data: envelopeOf(one.map((_, m) => `${e}-${m}`)) }])
        }
        live()
        await until('everything has ended', () => queues.all(work).length === 0)
        const given = failures(queues).map(({ entry }) => entry.id)
        for (const id of acts.keys()) {
          const ends = [...taken, ...given].filter((one) => one === id).length
          // After a death a message may be seen twice (at least once); otherwise each ends once.
          assert.ok(someoneDies ? ends >= 1 : ends === 1, `${id} ended ${ends} times`)
        }
      }),
      { numRuns: 25 },
    )
  })
})

type Act = 'delivered' | 'busy' | 'down' | 'rejected' | 'blocked' | 'throws' | 'missing' | 'dies'

function outcomeOf(act: Act): Outcome {
  if (act === 'busy') return busy
  if (act === 'down') return down
  if (act === 'rejected' || act === 'blocked') return { kind: act, reason: 'no' }
  return delivered
}

/** Runs one process after the other on the queue, each ended by sending a message whose id begins with "killer". */
async function liveAndDie(
  t: TestContext,
  queues: MemoryQueues,
  options: { readonly concurrency?: number; readonly hangs?: (deaths: number) => boolean } = {},
): Promise<{ readonly deaths: number; readonly taken: string[] }> {
  const { concurrency = 2, hangs = () => false } = options
  const taken: string[] = []
  let deaths = 0
  const live = () => {
    const process = queues.process()
    const forwarder = scripted(() => delivered, {
      send: async (items) => {
        if (items.some((item) => item.id.startsWith('killer'))) {
          process.die()
          deaths += 1
          setImmediate(live)
          return new Promise(() => {})
        }
        if (hangs(deaths)) return new Promise(() => {})
        taken.push(...items.map((item) => item.id))
        return items.map(() => delivered)
      },
    })
    start(t, forwarder, { queues: process, worker: workerOf({ delivery: { ...quick, concurrency } }) })
  }
  live()
  await empty(queues)
  return { deaths, taken }
}

type Overrides<Q extends Queues> = Partial<Omit<WorkerRunnerOptions, 'queues'>> & { readonly queues: Q }

function start<Q extends Queues>(
  t: Pick<TestContext, 'after'>,
  forwarder: AnyForwarderDefinition,
  overrides: Overrides<Q>,
) {
  const metrics = countingMetrics()
  const log = recordingLog()
  const runner = createWorkerRunner({
    worker: workerOf(),
    forwarder,
    openCredential: async () => undefined,
    redactor: new Redactor(),
    settings: { probe, progressMs: 1_000 },
    ...overrides,
    metrics,
    log,
  })
  runner.start()
  t.after(async () => {
    await overrides.queues.close()
    await runner.close(10)
  })
  return { queues: overrides.queues, runner, metrics, log }
}

async function run(
  t: TestContext,
  forwarder: AnyForwarderDefinition,
  envelopes: readonly Envelope[],
  overrides: Partial<Overrides<MemoryQueues>> = {},
) {
  const queues = overrides.queues ?? createMemoryQueues()
  await queues.add(
    work,
    envelopes.map((data, index) => ({ id: `j${index}`, data })),
  )
  return start(t, forwarder, { ...overrides, queues })
}

function failures(queues: MemoryQueues): readonly Failure[] {
  return queues.all<FailureBatch>(failed).flatMap((job) => job.data.failures)
}

async function empty(queues: MemoryQueues): Promise<void> {
  await until('the queue is empty', () => queues.all(work).length === 0)
}
