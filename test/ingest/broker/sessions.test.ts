import { deepEqual, equal, notEqual, ok } from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type BrokerLimits, defaultBrokerLimits } from '../../../src/ingest/broker/limits.ts'
import { type Session, Sessions } from '../../../src/ingest/broker/sessions.ts'

function make(limits: Partial<BrokerLimits> = {}) {
  const dropped: string[] = []
  const clock = { now: 0 }
  const sessions = new Sessions(
    { ...defaultBrokerLimits, ...limits },
    (reason) => void dropped.push(reason),
    () => clock.now,
  )
  const open = (clientId: string, owner = 'd-1', clean = false): Session | undefined => {
    const session = sessions.open(clientId, owner, clean)
    if (session !== undefined) session.holder = session
    return session
  }
  const leave = (session: Session | undefined): void => {
    if (session !== undefined) sessions.leave(session, session)
  }
  const keep = (session: Session | undefined, counter: number, bytes = 1): void => {
    if (session !== undefined)
      sessions.keep(session, counter, {
        cmd: 'publish',
        brokerCounter: counter,
        topic: 't',
        payload: Buffer.alloc(bytes),
        qos: 1,
      })
  }
  return { sessions, dropped, clock, open, leave, keep }
}

describe('sessions', () => {
  test('resume for their own principal, and for nobody else', () => {
    const { open, leave, sessions } = make()
    const first = open('c')
    first?.filters.set('a/#', 1)
    if (first !== undefined) sessions.subscribe(first, 'a/#')
    leave(first)
    equal(open('c'), first)
    deepEqual([...sessions.keepersOf('a/b')], [['c', 1]])
    leave(first)
    const other = open('c', 'd-2')
    notEqual(other, first)
    deepEqual([first?.gone, other?.filters.size, sessions.keepersOf('a/b').size], [true, 0, 0])
    leave(other)
    notEqual(open('c', 'd-2', true), other)
  })

  test('a clean one ends with its connection', () => {
    const { open, leave, sessions } = make()
    leave(open('c', 'd-1', true))
    equal(sessions.get('c'), undefined)
  })

  test('a connection that was taken over ends nothing', () => {
    const { open, sessions } = make()
    const session = open('c')
    if (session !== undefined) sessions.leave(session, {})
    equal(session?.offlineSince, undefined)
  })

  test('an old one ends by time', () => {
    const { open, leave, keep, sessions, clock, dropped } = make({ sessionMs: 1_000 })
    const session = open('c')
    keep(session, 1)
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

  test('bound what they keep, by messages and bytes; what was sent already is not lost', () => {
    const { open, keep, sessions, dropped } = make({ sessionMessages: 2, sessionBytes: 1_000 })
    const session = open('c')
    for (const counter of [1, 2, 3]) keep(session, counter)
    deepEqual([[...(session?.queue.keys() ?? [])], dropped.length], [[2, 3], 1])
    const sent = session?.queue.get(2)
    if (sent !== undefined) sent.messageId = 7
    keep(session, 4, 700)
    deepEqual([[...(session?.queue.keys() ?? [])], dropped.length], [[4], 2])
    keep(session, 5, 2_000)
    equal(dropped.length, 3)
    if (session !== undefined) sessions.forget(session, 4)
    equal(session?.bytes, 0)
  })

  test('bound what all keep together', () => {
    const { open, keep, dropped } = make({ totalSessionBytes: 500 })
    const [one, two] = [open('1'), open('2')]
    keep(one, 1)
    keep(two, 2)
    keep(two, 3)
    deepEqual([one?.queue.size, two?.queue.size, dropped.length], [1, 1, 1])
  })
})
