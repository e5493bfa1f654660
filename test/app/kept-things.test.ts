import { deepEqual, equal, notEqual } from 'node:assert/strict'
import { test } from 'node:test'
import { KeptThings } from '../../src/app/kept-things.ts'

test('what the newest snapshot asks for stays the same; what it does not is closed a while after it is in force', (context) => {
  context.mock.timers.enable({ apis: ['setTimeout'] })
  const closed: string[] = []
  const things = new KeptThings()
  const make = (name: string) => () => ({ name, close: () => void closed.push(name) })

  const first = things.next()
  const a = first.keep('a', make('a'))
  first.keep('b', make('b'))
  first.inForce()
  context.mock.timers.tick(60_000)
  deepEqual(closed, [])

  const second = things.next()
  equal(second.keep('a', make('a again')), a)
  context.mock.timers.tick(60_000)
  deepEqual(closed, [], 'it is not in force yet')
  second.inForce()
  context.mock.timers.tick(29_000)
  deepEqual(closed, [], 'a call may be under way')
  context.mock.timers.tick(2_000)
  deepEqual(closed, ['b'])
  notEqual(second.keep('b', make('b again')).name, 'b')

  things.close()
  deepEqual(new Set(closed), new Set(['a', 'b', 'b again']))
})
