import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Forwarder, Item } from '../../src/core/forwarder.ts'
import { silent } from '../../src/core/log.ts'
import { delivered, type Outcome } from '../../src/core/outcome.ts'
import { prepareItems } from '../../src/delivery/batches.ts'
import { sendBatch } from '../../src/delivery/send.ts'
import { entryOf, recordingLog, scripted } from '../support/delivery.ts'

const rejected: Outcome = { kind: 'rejected', reason: 'bad message in the batch' }

/** What one answer says of several. */
const refused = (count: number): readonly Outcome[] => {
  const together = Symbol('one answer')
  return Array.from({ length: count }, () => ({ ...rejected, together }))
}

describe('sendBatch', () => {
  it('halves a batch that one answer refused until those rejected stand alone', async () => {
    const bad = new Set(['2', '5'])
    const { send, batches } = await sender(async (items) =>
      items.some((item) => bad.has(item.id)) ? refused(items.length) : items.map(() => delivered),
    )
    const outcomes = await send(8)
    assert.deepEqual(
      outcomes.flatMap((outcome, index) => (outcome.kind === 'rejected' ? [String(index)] : [])),
      ['2', '5'],
    )
    const takenOf = batches.filter((batch) => !batch.some((id) => bad.has(id))).flat()
    assert.deepEqual(takenOf.sort(), ['0', '1', '3', '4', '6', '7'], 'each good message was taken once')
  })

  it('sends no message again that was answered by itself, however many were rejected', async () => {
    const { send, batches } = await sender(async (items) => items.map(() => rejected))
    assert.ok((await send(8)).every((outcome) => outcome === rejected))
    assert.equal(batches.length, 1)
  })

  it('halves each refusal by itself where several answers made up a batch', async () => {
    const { send, batches } = await sender(async (items) =>
      items.length < 6 ? items.map(() => delivered) : [...refused(4), ...refused(1), delivered],
    )
    assert.deepEqual(
      (await send(6)).map(({ kind }) => kind),
      ['delivered', 'delivered', 'delivered', 'delivered', 'rejected', 'delivered'],
    )
    assert.deepEqual(batches.slice(1), [
      ['0', '1'],
      ['2', '3'],
    ])
  })

  it('tells what is known of some before the others are sent again', async () => {
    const told: string[] = []
    const { send, batches } = await sender(async (items) => {
      if (items.length === 4) return refused(4)
      if (items[0]?.id === '2') assert.deepEqual(told, ['0', '1'])
      return items.map(() => delivered)
    })
    await send(4, (places) => told.push(...places.map(String)))
    assert.equal(batches.length, 3)
  })

  it('sends no further half once the far side has gone away', async () => {
    const away: Outcome = { kind: 'retry', reason: 'connection refused', answered: false, afterMs: 9 }
    const { send, batches } = await sender(async (items) => (items.length === 8 ? refused(8) : items.map(() => away)))
    const rest = { kind: 'retry', reason: 'connection refused', answered: false }
    assert.deepEqual(
      await send(8),
      [0, 1, 2, 3, 4, 5, 6, 7].map((index) => (index < 4 ? away : rest)),
    )
    assert.equal(batches.length, 2)
  })

  it('does not halve where only some are rejected', async () => {
    const { send, batches } = await sender(async (items) =>
      items.map((item) => (item.id === '1' ? rejected : delivered)),
    )
    await send(4)
    assert.equal(batches.length, 1)
  })

  it('stops halving when the far side blocks', async () => {
    const { send, batches } = await sender(async (items) =>
      items.length > 2 ? refused(4) : items.map(() => ({ kind: 'blocked', reason: 'no such queue' })),
    )
    const outcomes = await send(4)
    assert.deepEqual(
      outcomes.map(({ kind }) => kind),
      Array(4).fill('blocked'),
    )
    assert.equal(batches.length, 2)
  })

  it('tells at once what has arrived while the rest is under way, and once only', async () => {
    const told: string[] = []
    const hand = Promise.withResolvers<void>()
    const { send } = await sender(async (items, _signal, arrived) => {
      for (const place of [0, 1, 1, 7]) arrived?.(place)
      await hand.promise
      return items.map((_, index) => (index === 2 ? rejected : delivered))
    })
    const sending = send(4, (places) => told.push(places.join()))
    await new Promise((resolve) => setImmediate(resolve))
    assert.deepEqual(told, ['0', '1'])
    hand.resolve()
    assert.deepEqual(
      (await sending).map(({ kind }) => kind),
      ['delivered', 'delivered', 'rejected', 'delivered'],
    )
    assert.deepEqual(told, ['0', '1', '2,3'])
  })

  it('takes a throw as not answered, and says that it is a defect', async () => {
    const { send, log } = await sender(() => {
      throw new TypeError('undefined is not a function')
    })
    const unanswered = { kind: 'retry', reason: 'undefined is not a function', answered: false }
    assert.deepEqual(await send(2), [unanswered, unanswered])
    assert.match(log.lines[0]?.message ?? '', /defect/)
  })

  it('takes a missing outcome as not answered', async () => {
    const { send } = await sender(async () => [delivered])
    const [first, second] = await send(2)
    assert.equal(first?.kind, 'delivered')
    assert.deepEqual(second, { kind: 'retry', reason: 'the forwarder gave no outcome', answered: false })
  })

  it('breaks off a send that takes too long, and leaves one behind that does not end even then', async () => {
    let aborted = false
    const { send } = await sender((_, signal) => {
      signal.addEventListener('abort', () => (aborted = true))
      return new Promise(() => {})
    }, 20)
    const unanswered = { kind: 'retry', reason: 'no answer within 20 ms', answered: false }
    assert.deepEqual(await send(1), [unanswered])
    assert.ok(aborted)
  })

  it('keeps what a broken-off send still has to say', async () => {
    const { send } = await sender(
      (items, signal) =>
        new Promise((resolve) => signal.addEventListener('abort', () => resolve(items.map(() => delivered)))),
      20,
    )
    assert.deepEqual(await send(2), [delivered, delivered])
  })

  it('ends when the worker stops, and sends nothing after that', async () => {
    const stop = new AbortController()
    const { send, batches } = await sender(
      (_, signal) => new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(new Error('x')))),
      60_000,
      stop.signal,
    )
    const sending = send(1)
    stop.abort()
    assert.deepEqual(await sending, [{ kind: 'retry', reason: 'the worker is stopping', answered: false }])
    await send(1)
    assert.equal(batches.length, 1)
  })
})

async function sender(answer: Forwarder['send'], timeoutMs = 10_000, signal = new AbortController().signal) {
  const definition = scripted(() => delivered, { send: answer })
  const forwarder = await definition.open({}, { worker: 'w', log: silent, signal })
  const log = recordingLog()
  return {
    batches: definition.batches,
    log,
    send: async (count: number, heard: (places: readonly number[]) => void = () => {}): Promise<readonly Outcome[]> => {
      const outcomes: Outcome[] = []
      await sendBatch(itemsOf(count), { forwarder, signal, timeoutMs, log }, (told) => {
        heard([...told.keys()])
        for (const [place, outcome] of told) outcomes[place] = outcome
      })
      return outcomes
    },
  }
}

function itemsOf(count: number): readonly Item[] {
  const entries = Array.from({ length: count }, (_, index) => entryOf({ id: String(index) }))
  const { items } = prepareItems(entries, [...entries.keys()], {}, scripted(() => delivered).with)
  return items.map(({ item }) => item)
}
