import { deepEqual, equal, notEqual, ok } from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { BrokerConnection } from '../../../src/ingest/broker/connection.ts'
import { type BrokerLimits, defaultBrokerLimits } from '../../../src/ingest/broker/limits.ts'
import { Outgoing } from '../../../src/ingest/broker/outgoing.ts'
import { type Session, Sessions } from '../../../src/ingest/broker/sessions.ts'

/** Sessions without connections: what connections do to them is in deliveries.test.ts. */
function make(limits: Partial<BrokerLimits> = {}) {
  const dropped: string[] = []
  const clock = { now: 0 }
  const options = {
    limits: { ...defaultBrokerLimits, ...limits },
    dropped: (reason: string) => void dropped.push(reason),
    mayReceive: () => true,
  }
  const sessions = new Sessions(options, () => clock.now)
  const holder = {} as BrokerConnection
  const open = (clientId: string, owner = 'd-1', clean = false): Session | undefined => {
    const session = sessions.open(clientId, owner, clean)?.session
    if (session !== undefined) session.holder = holder
    return session
  }
  const leave = (session: Session | undefined): void => {
    if (session !== undefined) sessions.leave(session, holder)
  }
  const keep = (session: Session | undefined, bytes = 1): void =>
    session?.outbound.deliver(new Outgoing('t', Buffer.alloc(bytes), false), 1)
  const subscribers = (topic: string) =>
    [...sessions.subscribersOf(topic)].map(([{ clientId }, qos]) => [clientId, qos])
  return { sessions, dropped, clock, open, leave, keep, subscribers }
}

describe('sessions', () => {
  test('resume for their own principal, and for nobody else', () => {
    const { open, leave, sessions, subscribers } = make()
    const first = open('c')
    if (first !== undefined) sessions.subscribe(first, 'a/#', 1)
    leave(first)
    const again = sessions.open('c', 'd-1', false)
    deepEqual([again?.session, again?.present], [first, true])
    deepEqual(subscribers('a/b'), [['c', 1]])
    const other = sessions.open('c', 'd-2', false)
    notEqual(other?.session, first)
    deepEqual([other?.present, other?.session.filters.size, subscribers('a/b')], [false, 0, []])
    notEqual(open('c', 'd-2', true), other?.session)
  })

  test('are among the subscribers once, with the highest QoS of the filters that match', () => {
    const { open, sessions, subscribers } = make()
    const session = open('c')
    if (session === undefined) return
    for (const [filter, qos] of [
      ['a/#', 0],
      ['a/+', 2],
      ['+/b', 1],
      ['x', 2],
    ] as const)
      sessions.subscribe(session, filter, qos)
    deepEqual(subscribers('a/b'), [['c', 2]])
    sessions.unsubscribe(session, 'a/+')
    deepEqual(subscribers('a/b'), [['c', 1]])
    sessions.subscribe(session, '+/b', 0)
    deepEqual(subscribers('a/b'), [['c', 0]])
  })

  test('a clean one ends with its connection', () => {
    const { open, leave, sessions } = make()
    leave(open('c', 'd-1', true))
    equal(sessions.get('c'), undefined)
  })

  test('a connection that was taken over ends nothing', () => {
    const { open, sessions } = make()
    const session = open('c')
    if (session !== undefined) sessions.leave(session, {} as BrokerConnection)
    equal(session?.offlineSince, undefined)
  })

  test('an old one ends by time', () => {
    const { open, leave, keep, sessions, clock, dropped } = make({ sessionMs: 1_000 })
    const session = open('c')
    keep(session)
    leave(session)
    clock.now = 1_000
    sessions.sweep()
    ok(sessions.get('c') !== undefined)
    clock.now = 1_001
    sessions.sweep()
    deepEqual([sessions.get('c'), dropped], [undefined, ['session-ended']])
  })

  test('are bounded in number, per principal and over all', () => {
    const { open, leave, sessions, clock } = make({ sessionsPerPrincipal: 2, sessions: 3 })
    const [one, two] = [open('1'), open('2')]
    equal(open('3'), undefined, 'both are connected')
    leave(one)
    clock.now = 5
    leave(two)
    ok(open('3') !== undefined, 'the oldest that is offline goes')
    deepEqual([sessions.get('1'), sessions.get('2')], [undefined, two])
    ok(open('4', 'd-2') !== undefined)
    equal(open('5', 'd-2'), undefined, 'the total')
    ok(open('6', 'd-2', true) !== undefined, 'clean ones cost nothing that stays')
  })

  test('bound what they keep, by messages and bytes', () => {
    const { open, keep, dropped } = make({ sessionMessages: 2, sessionBytes: 1_000 })
    const session = open('c')
    for (let count = 0; count < 3; count += 1) keep(session)
    deepEqual([session?.outbound.kept, dropped.length], [2, 1])
    keep(session, 700)
    deepEqual([session?.outbound.kept, dropped.length], [1, 3])
    keep(session, 2_000)
    deepEqual([session?.outbound.kept, dropped.length], [1, 4])
  })

  for (const bound of ['totalSessionBytes', 'sessionBytesPerPrincipal'] as const) {
    test(`bound what all keep together, and those of one principal: ${bound}`, () => {
      const { open, keep, leave, dropped } = make({ [bound]: 500 })
      const [one, two, other] = [open('1'), open('2'), open('3', 'd-2')]
      for (const session of [one, two, two, other]) keep(session)
      const isForAll = bound === 'totalSessionBytes'
      deepEqual(
        [one, two, other].map((session) => session?.outbound.kept),
        [1, 1, isForAll ? 0 : 1],
      )
      deepEqual(dropped, isForAll ? ['session-full', 'session-full'] : ['session-full'])
      leave(one)
      open('1', 'd-1', true)
      keep(two)
      equal(two?.outbound.kept, 2, 'there is room again')
    })
  }

  test('that look for retained messages without end let others have their turn', async () => {
    const { open } = make()
    const outbound = open('c')?.outbound
    outbound?.attach({ destroyed: false, writableNeedDrain: false } as BrokerConnection)
    let looks = 0
    // Nothing that matches, among more than anybody has.
    const endless = (function* () {
      for (;;) yield void (looks += 1)
    })()
    outbound?.replay('a/+', endless)
    outbound?.replay('b/+', endless)
    equal(looks, 1, 'one look, however often it subscribes')
    for (let turn = 0; turn < 3; turn += 1) await new Promise((resolve) => setImmediate(resolve))
    ok(looks > 1 && looks <= 4, `${looks} looks in 3 turns`)
    outbound?.stopReplay('a/+')
    outbound?.stopReplay('b/+')
  })
})
