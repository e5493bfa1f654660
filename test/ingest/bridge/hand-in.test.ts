import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Accepted, Publish, Speaker } from '../../../src/core/access.ts'
import { createHandIn, type HandInOptions, type RefusedMessage } from '../../../src/ingest/bridge/hand-in.ts'
import { countedMetrics, fakeAccept, linesLog } from '../../support/doors.ts'

const speaker: Speaker = { principal: { name: 'bridge:plant', method: 'bridge' }, protocol: 'mqtt', clientId: 'c' }
const publish: Publish = { topic: 'devices/d-1/t', payload: Buffer.from([0xff, 0]), qos: 1, retain: true }
const denied: Accepted = {
  kind: 'refused',
  id: 'm-1',
  status: 403,
  reason: 'unknown-thing',
  message: 'the thing is not registered',
  because: 'no thing d-1 in identity/',
}

function make(settings: HandInOptions['settings'], keep?: () => Promise<void>) {
  const door = fakeAccept()
  const kept: RefusedMessage[] = []
  const metrics = countedMetrics()
  const handIn = createHandIn({
    settings,
    accept: door.accept,
    keepRefused: keep ?? (async (refused) => void kept.push(refused)),
    log: linesLog(),
    metrics,
  })
  return { door, kept, metrics, handIn }
}

describe('what a bridge hands in', () => {
  it('is kept where it is refused: with the thing, the reason in full, and the id that was answered', async () => {
    const { door, kept, handIn } = make({ thing: ({ topic }) => topic.split('/')[1] })
    door.reply = () => denied
    assert.equal((await handIn.take(speaker, publish)).kind, 'refused')
    assert.deepEqual(kept, [
      {
        id: 'm-1',
        speaker,
        publish: { ...publish, thing: 'd-1' },
        reason: 'unknown-thing',
        because: 'no thing d-1 in identity/',
        withoutPayload: false,
      },
    ])
  })

  it('is kept where nobody can say whose it is, and counted', async () => {
    const { door, kept, metrics, handIn } = make({ thing: async () => assert.fail('broken') })
    const answer = await handIn.take(speaker, publish)
    assert.ok(answer.kind === 'refused' && answer.reason === 'request')
    assert.equal(door.taken.length, 0)
    assert.match(kept[0]?.because ?? '', /thing failed on the message: broken/)
    assert.equal(kept[0]?.publish, publish)
    assert.equal(metrics.total('sluice_messages_refused_total', { door: 'bridge', reason: 'request' }), 1)
  })

  it('is kept without its payload where that was too large', async () => {
    const { kept, handIn } = make({})
    await handIn.take(speaker, { ...publish, payload: Buffer.alloc(0) }, 300_000)
    assert.deepEqual([kept[0]?.reason, kept[0]?.withoutPayload], ['size', true])
  })

  it('is not settled while what was refused cannot be kept', async () => {
    const { door, handIn } = make({}, async () => assert.fail('the queue is away'))
    door.reply = () => denied
    assert.equal((await handIn.take(speaker, publish)).kind, 'later')
  })

  it('goes the same way again under its old id, and nothing more is kept of it', async () => {
    const ids: (string | undefined)[] = []
    const { kept } = make({})
    const handIn = createHandIn({
      settings: { thing: () => 'd-1' },
      accept: async (_speaker, { thing }, id) => {
        ids.push(thing, id)
        return denied
      },
      keepRefused: async (refused) => void kept.push(refused),
      log: linesLog(),
      metrics: countedMetrics(),
    })
    assert.equal((await handIn.again(speaker, publish, 'm-1')).kind, 'refused')
    assert.deepEqual(ids, ['d-1', 'm-1'])
    assert.deepEqual(kept, [])
  })
})
