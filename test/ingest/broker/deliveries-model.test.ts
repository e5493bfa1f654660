import { deepEqual, equal, ok } from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import type { Qos } from '../../../src/core/message.ts'
import { topicMatches } from '../../../src/core/topic.ts'
import { openBroker } from '../../support/broker.ts'
import { until } from '../../support/cleanup.ts'
import { SessionClient } from '../../support/session-client.ts'

/**
 * A client that keeps its session, a broker, and connections that break at any moment, against a plain account of what the client
 * must get (MQTT 3.1.1 §4.1, §4.3 to §4.6). `MODEL_RUNS=5000 MODEL_SEED=1` make it longer, and repeat it.
 */

const topics = ['a/x', 'a/y', 'b/x'] as const
const filters = ['a/#', 'a/+', 'a/x', '+/x', 'b/#', '#'] as const
const qos = fc.constantFrom<(0 | 1 | 2)[]>(0, 1, 2)

type Step =
  | { readonly do: 'publish'; readonly topic: string; readonly qos: Qos; readonly count: number }
  | { readonly do: 'subscribe'; readonly filter: string; readonly qos: Qos }
  | { readonly do: 'unsubscribe'; readonly filter: string }
  | { readonly do: 'send'; readonly qos: 1 | 2 }
  | { readonly do: 'break'; readonly how: 'reset' | 'close' }
  | { readonly do: 'connect' }
  | { readonly do: 'handle'; readonly count: number }
  | { readonly do: 'eager'; readonly eager: boolean }
  | { readonly do: 'hold'; readonly hold: boolean }
  | { readonly do: 'wait'; readonly turns: number }

const is = <const Name extends string>(name: Name): fc.Arbitrary<Name> => fc.constant(name)
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: is('publish'),
      topic: fc.constantFrom(...topics),
      qos,
      count: fc.integer({ min: 1, max: 4 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: is('subscribe'), filter: fc.constantFrom(...filters), qos }) },
  { weight: 1, arbitrary: fc.record({ do: is('unsubscribe'), filter: fc.constantFrom(...filters) }) },
  { weight: 3, arbitrary: fc.record({ do: is('send'), qos: fc.constantFrom<(1 | 2)[]>(1, 2) }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: is('break'), how: fc.constantFrom<('reset' | 'close')[]>('reset', 'close') }),
  },
  { weight: 3, arbitrary: fc.record({ do: is('connect') }) },
  { weight: 4, arbitrary: fc.record({ do: is('handle'), count: fc.integer({ min: 1, max: 4 }) }) },
  { weight: 1, arbitrary: fc.record({ do: is('eager'), eager: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: is('hold'), hold: fc.boolean() }) },
  { weight: 5, arbitrary: fc.record({ do: is('wait'), turns: fc.integer({ min: 1, max: 6 }) }) },
)

async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) await new Promise((resolve) => setImmediate(resolve))
}

test('a kept session gets everything it must, once and in order, wherever connections break', async (t) => {
  // Few ids, so that messages wait for them.
  const limits = { unacknowledged: 5, sessionsPerPrincipal: 1e6, sessions: 1e6, connectBurst: 1e6 }
  const { port, broker, sink } = await openBroker(t, limits)
  let runs = 0

  async function play(steps: readonly Step[]): Promise<void> {
    const clientId = `m-${(runs += 1)}`
    const own = `own/${clientId}`
    const client = new SessionClient({ port, name: 'd-2', clientId, topic: own })
    const granted = new Map<string, Qos>()
    /** What the client must get, in order, with its QoS; and what it may get. */
    const must = new Map<string, number>()
    const may = new Set<string>()
    const sent = new Map<string, 1 | 2>()
    let count = 0
    await client.connect()

    async function run(one: Step): Promise<void> {
      switch (one.do) {
        case 'publish':
          for (let left = one.count; left > 0; left -= 1) {
            const payload = `${clientId}.${(count += 1)}`
            const highest = Math.max(
              -1,
              ...[...granted].flatMap(([filter, most]) => (topicMatches(filter, one.topic) ? [most] : [])),
            )
            const at = Math.min(one.qos, highest)
            if (at > 0) must.set(payload, at)
            else if (at === 0) may.add(payload)
            broker.distribute({ topic: one.topic, payload: Buffer.from(payload), qos: one.qos, retain: false })
          }
          return
        case 'subscribe':
          if (!client.isConnected) return
          ok(await client.subscribe(one.filter, one.qos))
          return void granted.set(one.filter, one.qos)
        case 'unsubscribe':
          if (!client.isConnected) return
          ok(await client.unsubscribe(one.filter))
          return void granted.delete(one.filter)
        case 'send': {
          const payload = `${clientId}>${(count += 1)}`
          sent.set(payload, one.qos)
          return client.publish(payload, one.qos)
        }
        case 'break':
          return client.breakOff(one.how)
        case 'connect':
          return client.connect()
        case 'handle':
          return client.handle(one.count)
        case 'eager':
          return void (client.eager = one.eager)
        case 'hold':
          if (one.hold) sink.hold()
          else sink.release()
          return
        case 'wait':
          return turns(one.turns)
      }
    }

    for (const one of steps) await run(one)
    sink.release()
    client.eager = true
    if (!client.isConnected) await client.connect()
    await until('its own are done', () => client.sending === 0)
    // What it publishes to itself comes last: with it has come all that was before.
    ok(await client.subscribe(own, 1))
    broker.distribute({ topic: own, payload: Buffer.from('end'), qos: 1, retain: false })
    await until('the end', () => client.received.some(({ payload }) => payload === 'end'), 5_000)
    await until('its ids are free', () => client.held === 0)
    client.breakOff()

    deepEqual(client.faults, [])
    const got = client.received.filter(({ payload }) => payload.startsWith(`${clientId}.`))
    const firsts = [...new Map(got.toReversed().map((one) => [one.payload, one])).values()].toReversed()
    deepEqual(
      firsts.filter(({ payload }) => must.has(payload)).map(({ payload, qos: at }) => [payload, at]),
      [...must],
      'each, in the order in which they were published, at the QoS that was granted',
    )
    ok(
      got.every(({ payload }) => must.has(payload) || may.has(payload)),
      'nothing else',
    )
    for (const [index, { payload, qos: at, dup, connection }] of got.entries()) {
      const before = got.slice(0, index).find((one) => one.payload === payload)
      if (before === undefined) continue
      equal(at, 1, `${payload} twice at QoS ${at}`)
      ok(dup && connection > before.connection, `${payload} twice, and not marked, or over one connection`)
    }
    for (const [payload, at] of sent) {
      const taken = sink.taken.filter(({ publish }) => String(publish.payload) === payload).length
      ok(at === 1 ? taken >= 1 : taken === 1, `${payload} of QoS ${at} was taken ${taken} times`)
    }
    sink.taken.length = 0
  }

  const property = fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 60 }), play)
  const seed = process.env['MODEL_SEED']
  const wanted = process.env['MODEL_RUNS']
  await fc.assert(property, {
    numRuns: Number(wanted ?? 100),
    // A failure is made smaller for so long, and a slow machine does what it can.
    ...(wanted === undefined && { interruptAfterTimeLimit: 15_000 }),
    ...(seed !== undefined && { seed: Number(seed) }),
  })
})
