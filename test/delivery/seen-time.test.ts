import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import * as fc from 'fast-check'
import type { Clock, Jump } from '../../src/core/clock.ts'
import { createSeenTime, type KeptSeenTime, type SeenTimeNote } from '../../src/delivery/seen-time.ts'

const minute = 60_000
const hour = 60 * minute
const day = 24 * hour
const start = Date.parse('2026-01-01')

/** A machine: what really passes, and a wall clock that can be moved. */
function machine({ wall = start, up = 1_000, boot = 'b1' } = {}) {
  let listener = (_jump: Jump) => {}
  const state = { wall, up }
  const clock: Clock = {
    wall: () => state.wall,
    passed: () => state.up,
    boot,
    look() {},
    onJump: (heard) => ((listener = heard), () => {}),
  }
  return {
    clock,
    pass(ms: number) {
      state.wall += ms
      state.up += ms
    },
    move(by: number) {
      const since = state.up
      state.up += 500
      state.wall += 500 + by
      listener({ by, since, at: state.up, wall: state.wall })
    },
    wall: () => state.wall,
  }
}

const ageOf = (time: KeptSeenTime, at: number) => time.now() - time.of(at)
const near = (actual: number, expected: number, what = '') =>
  assert.ok(Math.abs(actual - expected) <= 1_000, `${what} ${actual} ms for ${expected}`)

describe('seen time', () => {
  it('is the wall clock where that is never moved', () => {
    const here = machine()
    const time = createSeenTime(here.clock)
    here.pass(hour)
    assert.equal(time.now(), start + hour)
    assert.equal(time.of(start - day), start - day)
    assert.equal(time.of(start + minute), start + minute)
    assert.equal(ageOf(time, start + 2 * hour), 0, 'what was stamped by a clock that is ahead is new')
  })

  it('does not age what waits when the clock goes forward, nor when that is put right', () => {
    const here = machine()
    const time = createSeenTime(here.clock)
    here.pass(hour)
    here.move(2 * day)
    near(ageOf(time, start), hour)
    const stamped = here.wall()
    here.pass(hour)
    near(ageOf(time, stamped), hour, 'stamped while it was ahead')
    here.move(-2 * day)
    near(ageOf(time, start), 2 * hour)
    near(ageOf(time, stamped), hour)
    here.pass(10 * minute)
    near(ageOf(time, here.wall() - 5 * minute), 5 * minute, 'stamped after that')
  })

  it('counts on from what passed when the clock goes back', () => {
    const here = machine()
    const time = createSeenTime(here.clock)
    here.pass(hour)
    const before = time.now()
    here.move(-day)
    near(time.now(), before)
    here.pass(2 * hour)
    near(time.now(), before + 2 * hour)
    near(ageOf(time, start + hour), 2 * hour, 'stamped before it went back')
    near(ageOf(time, here.wall() - hour), hour, 'stamped since')
  })

  it('makes nothing older than it is, however the clock is moved', () => {
    const step = fc.record({
      pass: fc.integer({ min: 1_000, max: day }),
      by: fc.integer({ min: -3 * day, max: 3 * day }),
    })
    const property = fc.property(fc.array(step, { maxLength: 12 }), (steps) => {
      const here = machine()
      const time = createSeenTime(here.clock)
      const stamps: { readonly at: number; readonly passed: number }[] = []
      const stamp = () => stamps.push({ at: here.wall(), passed: here.clock.passed() })
      for (const { pass, by } of steps) {
        stamp()
        here.pass(pass)
        stamp()
        if (Math.abs(by) >= 1_000) here.move(by)
      }
      for (const { at, passed } of stamps) {
        const age = ageOf(time, at)
        assert.ok(age >= 0 && age <= here.clock.passed() - passed + 1, `${age} of ${here.clock.passed() - passed}`)
      }
    })
    fc.assert(property)
  })

  describe('over a restart', () => {
    const noteOf = (time: KeptSeenTime) => JSON.parse(JSON.stringify(time.note())) as SeenTimeNote
    const restarted = (note: unknown, next: ReturnType<typeof machine>) => {
      const time = createSeenTime(next.clock)
      time.adopt(note)
      return time
    }
    const run = () => {
      const here = machine()
      const time = createSeenTime(here.clock)
      here.pass(hour)
      return { here, note: noteOf(time), up: here.clock.passed() }
    }

    it('counts the time in which nobody was there as the machine does', () => {
      const { note, up } = run()
      const time = restarted(note, machine({ wall: start + 9 * hour, up: up + 8 * hour }))
      near(ageOf(time, start), 9 * hour)
    })

    it('sees that the clock was moved meanwhile, forward or back', () => {
      const { note, up } = run()
      for (const by of [3 * day, -3 * day]) {
        const next = machine({ wall: start + 2 * hour + by, up: up + hour })
        const time = restarted(note, next)
        near(ageOf(time, start), 2 * hour)
        next.pass(hour)
        near(ageOf(time, start), 3 * hour)
        next.move(-by)
        near(ageOf(time, start), 3 * hour, `moved by ${by}`)
      }
    })

    it('remembers what was moved before', () => {
      const here = machine()
      const first = createSeenTime(here.clock)
      here.pass(hour)
      here.move(2 * day)
      here.pass(hour)
      const next = machine({ wall: here.wall() + minute, up: here.clock.passed() + minute })
      const time = restarted(noteOf(first), next)
      near(ageOf(time, start), 2 * hour + minute)
      next.move(-2 * day)
      near(ageOf(time, start), 2 * hour + minute)
    })

    it('believes the clock of a machine that was started anew only when it has run right for a while', () => {
      const { note } = run()
      const next = machine({ wall: start + 3 * day, up: 5_000, boot: 'b2' })
      const time = restarted(note, next)
      near(ageOf(time, start), hour)
      next.pass(11 * minute)
      near(ageOf(time, start), 3 * day + 11 * minute)

      const wrong = machine({ wall: start + 3_000 * day, up: 5_000, boot: 'b2' })
      const corrected = restarted(note, wrong)
      wrong.pass(minute)
      wrong.move(-2_999 * day)
      wrong.pass(hour)
      near(ageOf(corrected, start), 2 * hour + minute)
    })

    it('takes little time as it is told, and a clock that went back for none', () => {
      const { note } = run()
      near(ageOf(restarted(note, machine({ wall: start + hour + minute, boot: 'b2' })), start), hour + minute)
      near(ageOf(restarted(note, machine({ wall: start - 9 * day, boot: 'b2' })), start), hour)
    })

    it('goes by the wall clock where what was noted is no note', () => {
      for (const note of [undefined, 7, {}, { ...run().note, seen: 'x' }, { ...run().note, stretches: [] }])
        assert.equal(restarted(note, machine({ wall: start + day })).now(), start + day)
    })
  })
})
