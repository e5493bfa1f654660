import assert from 'node:assert/strict'
import { fileURLToPath } from 'node:url'
import { after, before, describe, test } from 'node:test'
import { assert as holds, asyncProperty, jsonValue, oneof, string } from 'fast-check'
import type { Handled, Job, QueueName, Queues } from '../../src/core/queue.ts'
import { until, type Scope } from '../support/cleanup.ts'
import { run, type Running } from '../support/process.ts'
import type { Opening } from '../support/queue-holder.ts'

export interface QueueSuite {
  readonly name: string
  /** Prepares the store once for the suite. */
  prepare(scope: Scope): Promise<{
    /** Opens the queues; each time the same ones. */
    open(): Promise<Queues>
    /** How another process opens them, with locks short enough for a test to wait for. */
    readonly opening: Opening
  }>
  /** One process at a time: the test closes its own queues before another opens them. */
  readonly exclusive: boolean
}

const done: Handled<never> = { kind: 'done' }
let owners = 0

/** What every implementation of `Queues` must do. */
export function testQueues(suite: QueueSuite): void {
  describe(`queues on ${suite.name}`, () => {
    let queues: Queues
    let opening: Opening
    let prepared: Awaited<ReturnType<QueueSuite['prepare']>>
    const open = () => prepared.open()
    const ends: (() => unknown)[] = []
    const scope: Scope = { after: (end) => void ends.push(end as () => unknown) }

    before(async () => {
      prepared = await suite.prepare(scope)
      opening = prepared.opening
      queues = await open()
    })
    after(async () => {
      await queues.close()
      for (const end of ends.reverse()) await end()
    })

    const fresh = (part: QueueName['part'] = 'work'): QueueName => ({ owner: `w${(owners += 1)}`, part })
    const idsIn = async (queue: QueueName) => (await queues.peek(queue, 0, 1000)).map(({ id }) => id)
    const add = (queue: QueueName, ...ids: string[]) =>
      queues.add(
        queue,
        ids.map((id) => ({ id, data: { id } })),
      )

    test('a job that is there is added once, and the add may be repeated', async () => {
      const queue = fresh()
      await add(queue, 'a1')
      await add(queue, 'a1', 'b1', 'b1')
      await queues.add(queue, [{ id: 'a1', data: 'another' }])
      assert.deepEqual(await idsIn(queue), ['a1', 'b1'])
      assert.deepEqual((await queues.get(queue, 'a1'))?.data, { id: 'a1' })
    })

    test('jobs come in the order of adding, and peek shows it oldest first, in pages', async () => {
      const queue = fresh()
      const ids = Array.from({ length: 25 }, (_, index) => `job-${index}`)
      for (let start = 0; start < ids.length; start += 5) await add(queue, ...ids.slice(start, start + 5))
      assert.deepEqual(await idsIn(queue), ids)
      assert.deepEqual(
        (await queues.peek(queue, 3, 4)).map(({ id }) => id),
        ids.slice(3, 7),
      )
      assert.deepEqual(await queues.peek(queue, 25, 10), [])
      const seen: string[] = []
      const consumer = queues.consume(queue, async (job) => (seen.push(job.id), done), { concurrency: 1 })
      await until('all are taken', () => seen.length === ids.length)
      await consumer.close(5_000)
      assert.deepEqual(seen, ids)
      assert.deepEqual(await queues.counts(queue), { waiting: 0, active: 0, delayed: 0 })
    })

    test('pages go on where the last ended, whatever was added and taken out meanwhile', async () => {
      const queue = fresh('dead')
      const ids = Array.from({ length: 40 }, (_, index) => `job-${index}`)
      await add(queue, ...ids)
      const idsOf = (page: readonly { readonly id: string }[]) => page.map(({ id }) => id)
      const first = await queues.page(queue, undefined, 10)
      assert.deepEqual(idsOf(first), ids.slice(0, 10))
      const from = first.at(-1)?.cursor
      assert.equal(await queues.remove(queue, ['job-0', 'job-5', 'job-12', 'job-30', 'job-39']), 5)
      await add(queue, 'later-1')
      assert.deepEqual(idsOf(await queues.page(queue, from, 4)), ['job-10', 'job-11', 'job-13', 'job-14'])
      const rest: string[] = []
      for (let cursor = from; ;) {
        const page = await queues.page(queue, cursor, 7)
        if (page.length === 0) break
        rest.push(...idsOf(page))
        cursor = page.at(-1)?.cursor
      }
      assert.deepEqual(rest, [...ids.slice(10).filter((id) => !/-(12|30|39)$/.test(id)), 'later-1'])
      for (const none of ['', 'x', '1e9', '-1.2.3']) assert.equal((await queues.page(queue, none, 1))[0]?.id, 'job-1')
      assert.deepEqual(await queues.page(queue, undefined, 0), [])
      assert.deepEqual(await queues.page(fresh('dead'), undefined, 10), [])
    })

    test('a page ends early where jobs are large, and the pages are all of them', async () => {
      const queue = fresh('dead')
      const data = 'x'.repeat(700_000)
      for (let index = 0; index < 20; index += 1) await queues.add(queue, [{ id: `job-${index}`, data }])
      const seen: string[] = []
      let cursor: string | undefined
      let most = 0
      for (;;) {
        const page = await queues.page(queue, cursor, 100)
        if (page.length === 0) break
        most = Math.max(most, page.length)
        seen.push(...page.map(({ id }) => id))
        cursor = page.at(-1)?.cursor
      }
      assert.equal(new Set(seen).size, 20)
      assert.equal(seen.length, 20)
      assert.ok(most < 20 || suite.name !== 'Redis', `${most}`)
      assert.equal(await queues.remove(queue, seen), 20)
    })

    test('two adds at once keep their order', async () => {
      const queue = fresh()
      await Promise.all([add(queue, 'a1', 'a2', 'a3'), add(queue, 'b1'), add(queue, 'c1', 'c2'), add(queue, 'd1')])
      assert.deepEqual(await idsIn(queue), ['a1', 'a2', 'a3', 'b1', 'c1', 'c2', 'd1'])
    })

    test('get finds a job wherever it is; remove takes waiting ones and says how many', async () => {
      const queue = fresh('dead')
      await add(queue, 'a1', 'b1', 'c1')
      const job = await queues.get<{ id: string }>(queue, 'b1')
      assert.equal(job?.data.id, 'b1')
      assert.ok(job !== undefined && Math.abs(Date.now() - job.at) < 60_000)
      assert.equal(await queues.get(queue, 'nobody1'), undefined)
      assert.equal(await queues.remove(queue, ['a1', 'nobody1', 'c1', 'c1']), 2)
      assert.deepEqual(await idsIn(queue), ['b1'])
      assert.equal((await queues.counts(queue)).waiting, 1)
    })

    test('a job in hand is not removed', async () => {
      const queue = fresh()
      const hand = Promise.withResolvers<Handled<unknown>>()
      const consumer = queues.consume(queue, () => hand.promise, { concurrency: 1 })
      await add(queue, 'held1')
      await until('it is in hand', async () => (await queues.counts(queue)).active === 1)
      assert.equal(await queues.remove(queue, ['held1']), 0)
      hand.resolve(done)
      await consumer.close(5_000)
      assert.equal(await queues.get(queue, 'held1'), undefined)
    })

    test('any JSON value comes back as it was, names like __proto__ and unprintable text too', async () => {
      const queue = fresh('dead')
      const hostile = JSON.parse(
        '{"__proto__":{"x":1},"constructor":"c","nul":"a\\u0000b","half":"\\ud800","\\u0000":1,"b":1,"a":2}',
      ) as unknown
      const json = oneof(jsonValue(), string({ unit: 'binary' }))
      let count = 0
      const check = async (value: unknown) => {
        const id = `value-${(count += 1)}`
        await queues.add(queue, [{ id, data: { value } }])
        const stored = await queues.get<{ value: unknown }>(queue, id)
        assert.equal(JSON.stringify(stored?.data.value), JSON.stringify(value))
      }
      await check(hostile)
      await holds(asyncProperty(json, check), { numRuns: 50 })
    })

    test('any text is an id and an owner, and none is mistaken for a part of the queue itself', async () => {
      const ids = [
        'wait',
        'meta',
        '0',
        '17',
        '0:1',
        'a:b:c',
        'x:wait',
        '~a',
        '%41',
        'ü/1',
        ' ',
        '__proto__',
        'stalled-check',
        'events',
      ]
      for (const owner of ['rule:a.b*{c}', 'a.failures', '__proto__', 'Ünïcode 1']) {
        const queue: QueueName = { owner, part: 'dead' }
        await add(queue, ...ids)
        assert.deepEqual(await idsIn(queue), ids)
        assert.equal((await queues.get<{ id: string }>(queue, 'wait'))?.data.id, 'wait')
        assert.ok((await queues.owners()).includes(owner), owner)
        assert.equal(await queues.remove(queue, ids), ids.length)
      }
      assert.deepEqual(await idsIn({ owner: 'a', part: 'failures' }), [])
    })

    test('the three queues of an owner are three', async () => {
      const { owner } = fresh()
      for (const part of ['work', 'failures', 'dead'] as const) await add({ owner, part }, `in-${part}-1`)
      for (const part of ['work', 'failures', 'dead'] as const)
        assert.deepEqual(await idsIn({ owner, part }), [`in-${part}-1`])
      assert.equal((await queues.owners()).filter((name) => name === owner).length, 1)
    })

    test('again: the job waits its time and comes back with new data', async () => {
      const queue = fresh()
      await queues.add(queue, [{ id: 'a1', data: { round: 0 } }])
      const seen: { round: number; at: number; deaths: number }[] = []
      const consumer = queues.consume<{ round: number }>(
        queue,
        async ({ data: { round }, deaths }) => {
          seen.push({ round, at: Date.now(), deaths })
          return round === 2 ? done : { kind: 'again', data: { round: round + 1 }, afterMs: round === 0 ? 0 : 300 }
        },
        { concurrency: 2 },
      )
      await until('it was delayed', async () => (await queues.counts(queue)).delayed === 1)
      await until('it came three times', () => seen.length === 3)
      await consumer.close(5_000)
      assert.deepEqual(
        seen.map(({ round }) => round),
        [0, 1, 2],
      )
      assert.deepEqual(
        seen.map(({ deaths }) => deaths),
        [0, 0, 0],
      )
      assert.ok((seen[2]?.at ?? 0) - (seen[1]?.at ?? 0) >= 299)
      assert.deepEqual(await queues.counts(queue), { waiting: 0, active: 0, delayed: 0 })
    })

    test('update is durable while the job is in hand', async () => {
      const queue = fresh()
      const hand = Promise.withResolvers<Handled<unknown>>()
      let updated = false
      const consumer = queues.consume<unknown>(
        queue,
        async (job) => {
          await job.update({ rest: ['b'] })
          updated = true
          return hand.promise
        },
        { concurrency: 1 },
      )
      await add(queue, 'a1')
      await until('it was updated', () => updated)
      assert.deepEqual((await queues.get(queue, 'a1'))?.data, { rest: ['b'] })
      hand.resolve(done)
      await consumer.close(5_000)
    })

    test('a handler that throws, whatever it throws, has its job back later with the data last stored', async () => {
      const queue = fresh()
      await queues.add(queue, [
        { id: 'error-1', data: 'first' },
        { id: 'text-1', data: 'first' },
        { id: 'nothing-1', data: 'first' },
      ])
      const seen = new Map<string, unknown[]>()
      const consumer = queues.consume<unknown>(
        queue,
        async (job) => {
          const before = seen.get(job.id) ?? []
          seen.set(job.id, [...before, job.data])
          if (before.length > 0) return done
          await job.update('second')
          if (job.id === 'error-1') throw new Error('a defect\0')
          // oxlint-disable-next-line typescript/only-throw-error -- that is the case
          throw job.id === 'text-1' ? 'only text' : undefined
        },
        { concurrency: 3 },
      )
      await until('all came back', () => [...seen.values()].filter((each) => each.length === 2).length === 3)
      await consumer.close(5_000)
      for (const each of seen.values()) assert.deepEqual(each, ['first', 'second'])
      assert.deepEqual(await queues.counts(queue), { waiting: 0, active: 0, delayed: 0 })
    })

    test('as many jobs in hand at once as it may, no more', async () => {
      const queue = fresh()
      await add(queue, ...Array.from({ length: 9 }, (_, index) => `job-${index}`))
      const hand = Promise.withResolvers<Handled<unknown>>()
      let inHand = 0
      let most = 0
      const consumer = queues.consume(
        queue,
        async () => {
          most = Math.max(most, (inHand += 1))
          const handled = await hand.promise
          inHand -= 1
          return handled
        },
        { concurrency: 3 },
      )
      await until('three are in hand', () => inHand === 3)
      assert.deepEqual(await queues.counts(queue), { waiting: 6, active: 3, delayed: 0 })
      hand.resolve(done)
      await until('all are done', async () => (await queues.counts(queue)).waiting === 0 && inHand === 0)
      await consumer.close(5_000)
      assert.equal(most, 3)
    })

    test('a consumer that sleeps is woken by an add', async () => {
      const queue = fresh()
      const seen: string[] = []
      const consumer = queues.consume(queue, async (job) => (seen.push(job.id), done), { concurrency: 2 })
      await add(queue, 'first-1')
      await until('the first came', () => seen.length === 1)
      // BullMQ's own look for work is every five seconds: this is the wake-up.
      await new Promise((resolve) => setTimeout(resolve, 300))
      await add(queue, 'second-1')
      await until('the second came', () => seen.length === 2, 2_000)
      await consumer.close(5_000)
    })

    test('paused it takes nothing; those in hand go on; resumed it goes on in order', async () => {
      const queue = fresh()
      const hand = Promise.withResolvers<Handled<unknown>>()
      const seen: string[] = []
      const consumer = queues.consume(
        queue,
        async (job) => (seen.push(job.id), job.id === 'a1' ? hand.promise : done),
        { concurrency: 2 },
      )
      await add(queue, 'a1')
      await until('it is in hand', () => seen.length === 1)
      consumer.pause()
      await add(queue, 'b1', 'c1')
      hand.resolve(done)
      await until('the one in hand is done, the others wait', async () => {
        const { waiting, active, delayed } = await queues.counts(queue)
        return active === 0 && waiting + delayed === 2
      })
      await new Promise((resolve) => setTimeout(resolve, 200))
      assert.deepEqual(seen, ['a1'])
      consumer.resume()
      await until('all came', () => seen.length === 3)
      await consumer.close(5_000)
      assert.deepEqual([...seen].sort(), ['a1', 'b1', 'c1'])
    })

    test('close waits for those in hand', async () => {
      const queue = fresh()
      const hand = Promise.withResolvers<Handled<unknown>>()
      let signal: AbortSignal | undefined
      const consumer = queues.consume(queue, (_, given) => ((signal = given), hand.promise), { concurrency: 1 })
      await add(queue, 'a1', 'b1')
      await until('one is in hand', () => signal !== undefined)
      const closed = consumer.close(5_000)
      hand.resolve(done)
      await closed
      assert.equal(signal?.aborted, false)
      assert.deepEqual(await idsIn(queue), ['b1'])
      assert.equal(await queues.get(queue, 'a1'), undefined)
    })

    test('after its deadline close aborts the signal; a handler that then answers is heard', async () => {
      const queue = fresh()
      await add(queue, 'a1')
      let taken = false
      const consumer = queues.consume<unknown>(
        queue,
        async (_, signal) => {
          taken = true
          await new Promise((resolve) => signal.addEventListener('abort', resolve))
          return { kind: 'again', data: 'rest', afterMs: 60_000 }
        },
        { concurrency: 1 },
      )
      await until('it is in hand', () => taken)
      await consumer.close(50)
      assert.deepEqual((await queues.get(queue, 'a1'))?.data, 'rest')
      assert.deepEqual(await queues.counts(queue), { waiting: 0, active: 0, delayed: 1 })
    })

    test('the store keeps values and leases', async () => {
      const { store } = queues
      const key = 'a key: \0 * {x}'
      assert.equal(await store.get(key), undefined)
      await store.set(key, { list: [1, 'two\0'] })
      await store.set(key, { list: [2] })
      assert.deepEqual(await store.get(key), { list: [2] })
      await store.delete(key)
      assert.equal(await store.get(key), undefined)

      assert.equal(await store.lease(key, 'me', 60_000), true)
      assert.equal(await store.lease(key, 'you', 60_000), false)
      assert.equal(await store.lease(key, 'me', 60_000), true)
      await store.release(key, 'you')
      assert.equal(await store.lease(key, 'you', 60_000), false)
      await store.release(key, 'me')
      assert.equal(await store.lease(key, 'you', 100), true)
      await until('it ended by itself', () => store.lease(key, 'me', 60_000))
      assert.equal(await store.lease(key, 'you', 100), false, 'it was taken by a clock that was ahead')
      await until('it lasts no longer than is asked for', () => store.lease(key, 'you', 100))
    })

    test('a table keeps records, and says what has changed since a version', async () => {
      const table = queues.store.table('a table: \0 * {x}')
      assert.deepEqual(await table.since(0), [])
      const odd = 'a key: \0 . * {x} é'
      assert.equal(await table.put(odd, { list: [1, 'two\0'] }), 1)
      assert.equal(await table.put('constructor', 0), 2)
      assert.equal(await table.put('c', null), 3)
      assert.equal(await table.put(odd, { list: [] }), 4)
      assert.deepEqual(await table.since(0), [
        { key: 'constructor', version: 2, value: 0 },
        { key: 'c', version: 3, value: null },
        { key: odd, version: 4, value: { list: [] } },
      ])
      assert.deepEqual(await table.since(0, 1), [{ key: 'constructor', version: 2, value: 0 }])
      assert.deepEqual(await table.since(3), [{ key: odd, version: 4, value: { list: [] } }])
      assert.deepEqual(await table.since(4), [])
      assert.deepEqual(await queues.store.table('another table').since(0), [])
    })

    test('a record that is taken away leaves a trace, and may be written again as if it had never been there', async () => {
      const table = queues.store.table('traces')
      assert.equal(await table.put('a', 'x'), 1)
      assert.equal(await table.put('a', undefined, 1), 2)
      assert.deepEqual(await table.since(1), [{ key: 'a', version: 2, value: undefined }])
      assert.equal(await table.put('a', 'y', 2), undefined)
      assert.equal(await table.put('a', 'y', 0), 3)
      assert.equal(await table.put('never there', undefined), 4)
      assert.deepEqual(await table.since(2), [
        { key: 'a', version: 3, value: 'y' },
        { key: 'never there', version: 4, value: undefined },
      ])
    })

    test('a record is written only if it has the wanted version, and of several at once one is faster', async () => {
      const table = queues.store.table('contended')
      assert.equal(await table.put('a', 'x', 1), undefined)
      assert.deepEqual(await table.since(0), [])
      const race = async (ifVersion: number) => {
        const puts = Array.from({ length: 8 }, (_, index) => table.put('a', index, ifVersion))
        return (await Promise.all(puts)).filter((version) => version !== undefined)
      }
      assert.deepEqual(await race(0), [1])
      assert.deepEqual(await race(0), [])
      assert.deepEqual(await race(1), [2])
      assert.deepEqual(await race(1), [])
      const others = await Promise.all(Array.from({ length: 20 }, (_, index) => table.put(`k${index}`, index)))
      assert.deepEqual(
        others.toSorted((a = 0, b = 0) => a - b),
        Array.from({ length: 20 }, (_, index) => index + 3),
      )
      const seen = await table.since(0)
      assert.deepEqual(
        seen.map(({ version }) => version),
        Array.from({ length: 21 }, (_, index) => index + 2),
      )
    })

    test('ping answers', () => queues.ping())

    /** As often as asked another process takes what is in the queue, and is killed with it in hand; gives what each said. */
    const hold = async (queue: QueueName, times: number, isHeld: (output: string) => boolean): Promise<string[]> => {
      const outputs: string[] = []
      if (suite.exclusive) await queues.close()
      while (outputs.length < times) {
        const holder = startHolder(scope, opening, queue.owner)
        const heldOrEnded = () => isHeld(holder.output()) || holder.child.exitCode !== null
        await until('it has them in hand', heldOrEnded)
        await holder.stop('SIGKILL')
        outputs.push(holder.output())
      }
      if (suite.exclusive) queues = await open()
      return outputs
    }

    test('what a killed process had in hand is taken up again, oldest first, and its death is counted', async () => {
      const queue = fresh()
      await add(queue, 'a1', 'b1', 'c1', 'd1', 'e1')
      await hold(queue, 1, (output) => ['a1', 'b1', 'c1', 'd1'].every((id) => output.includes(`holding ${id} `)))
      const jobs: Pick<Job<unknown>, 'id' | 'deaths'>[] = []
      const consumer = queues.consume(queue, async ({ id, deaths }) => (jobs.push({ id, deaths }), done), {
        concurrency: 1,
      })
      // 10 s on Redis with the default settings; see redis.test.ts for those.
      await until('all came', () => jobs.length === 5)
      await consumer.close(5_000)
      const deaths = Object.fromEntries(jobs.map((job) => [job.id, job.deaths]))
      assert.deepEqual(deaths, { a1: 1, b1: 1, c1: 1, d1: 1, e1: 0 })
    })

    test('a job outlives the process that holds it five times over', async () => {
      const queue = fresh()
      await add(queue, 'a1')
      const outputs = await hold(queue, 5, (output) => output.includes('holding'))
      assert.deepEqual(
        outputs,
        [0, 1, 2, 3, 4].map((deaths) => `holding a1 after ${deaths} deaths\n`),
      )
      let deaths: number | undefined
      const consumer = queues.consume(queue, async (job) => ((deaths = job.deaths), done), { concurrency: 1 })
      await until('it came', () => deaths !== undefined)
      await consumer.close(5_000)
      assert.equal(deaths, 5)
    })

    test('what close left behind comes back as after a death', async () => {
      const queue = fresh()
      await add(queue, 'a1')
      let taken = false
      const stubborn = queues.consume(queue, () => ((taken = true), new Promise<never>(() => {})), { concurrency: 1 })
      await until('it is in hand', () => taken)
      await stubborn.close(0)
      await queues.close()
      queues = await open()
      let deaths: number | undefined
      const consumer = queues.consume(queue, async (job) => ((deaths = job.deaths), done), { concurrency: 1 })
      await until('it came', () => deaths !== undefined)
      await consumer.close(5_000)
      assert.equal(deaths, 1)
    })
  })
}

export function startHolder(scope: Scope, opening: Opening, owner: string): Running {
  const file = fileURLToPath(new URL('../support/queue-holder.ts', import.meta.url))
  return run(scope, process.execPath, [file, JSON.stringify(opening), owner])
}
