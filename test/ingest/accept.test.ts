import { deepEqual, equal, match } from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Access, Decision, Publish, Speaker } from '../../src/core/access.ts'
import { QueueAwayError, SluiceError } from '../../src/core/errors.ts'
import { silent } from '../../src/core/log.ts'
import type { Delivery, Message } from '../../src/core/message.ts'
import type { RuleOutcome, RuleSet } from '../../src/core/rule.ts'
import { type AcceptOptions, createAccept, createAcceptBatch } from '../../src/ingest/accept.ts'
import { endlessRoom } from '../../src/core/room.ts'
import { RateLimiter } from '../../src/ingest/limits.ts'
import { countedMetrics, linesLog } from '../support/doors.ts'

// The collaborators are plain functions here, because what is tested is the order and the meaning of their answers; the real
// ones meet in test/end-to-end.

const no: Decision = { allow: false, because: 'no statement allows it', by: 'none' }
const access: Access = {
  authenticate: async () => ({ kind: 'absent' }),
  renew: async () => ({ kind: 'absent' }),
  decide: (_speaker, action, name) =>
    name.startsWith('closed') || (action === 'iot:RetainPublish' && name.startsWith('fleeting')) ? no : { allow: true },
  decideForThing: (thing) => (thing === 'mute' ? no : { allow: true }),
  knowsThing: (thing) => thing !== 'ghost',
  mayActFor: (principal, thing) => thing === principal.thing || principal.actsFor?.includes('*') === true,
}
const device: Speaker = { principal: { name: 'd-1', method: 'token', thing: 'd-1' }, protocol: 'http' }
const gateway: Speaker = {
  principal: { name: 'g-1', method: 'token', actsFor: ['*'] },
  protocol: 'mqtt',
  clientId: 'g-1',
}
const publish: Publish = { topic: 'a/b', payload: Buffer.from('{}'), qos: 1, retain: false }

function make(outcomes: readonly RuleOutcome[] = [], fail = false, unmatched?: RuleOutcome) {
  const queued: { message: Message; deliveries: readonly Delivery[] }[] = []
  const failed: string[] = []
  const metrics = countedMetrics()
  const log = linesLog()
  const rules: RuleSet = {
    hash: 'r1',
    rules: [],
    evaluate: async () => outcomes,
    unmatched: async () => unmatched,
    errorActions: async () => [],
  }
  const options: AcceptOptions = {
    access: () => access,
    rules: () => rules,
    enqueue: (messages) => {
      if (fail) throw new SluiceError('QUEUE_AWAY')
      queued.push(...messages.map(({ message, deliveries }) => ({ message, deliveries })))
      return messages.map(async () => {})
    },
    keepFailed: async (_message, rule, reason) => void failed.push(`${rule}: ${reason}`),
    limiter: new RateLimiter({ publishesPerSecond: 3, bytesPerSecond: 10_000 }, () => 0),
    limits: { bytes: 256, levels: 8, payload: 100 },
    log,
    metrics,
    now: () => 1_000,
  }
  return {
    accept: createAccept('http', options),
    acceptBatch: createAcceptBatch('http', options),
    event: createAccept('sluice', options),
    queued,
    failed,
    metrics,
    log,
  }
}

const delivery: Delivery = { worker: 'w', rule: 'r', action: 0 }

describe('accept', () => {
  test('hands what matched to the queue with the facts of the message, and answers its id', async () => {
    const { accept, queued } = make([{ kind: 'deliveries', rule: 'r', deliveries: [delivery] }])
    const answer = await accept(device, { ...publish, id: 'order-66' })
    equal(answer.kind, 'accepted')
    match(answer.id, /^[0-9a-f]{8}-[0-9a-f]{4}-7/)
    const expected = {
      id: answer.id,
      publisherId: 'd-1/order-66',
      at: 1_000,
      topic: 'a/b',
      payload: publish.payload,
      qos: 1,
      retain: false,
      principal: 'd-1',
      thing: 'd-1',
    }
    deepEqual(queued, [{ message: expected, deliveries: [delivery] }])
  })

  test('what a publisher calls a message is its own word, and behind a gateway that of whom it speaks for', async () => {
    const { accept, queued } = make([{ kind: 'deliveries', rule: 'r', deliveries: [delivery] }])
    const ids = []
    for (const [speaker, more] of [
      [device, {}],
      [gateway, {}],
      [gateway, { thing: 'd-1' }],
      [gateway, { clientId: 'd-1' }],
    ] as const)
      ids.push((await accept(speaker, { ...publish, ...more, id: '1' })).id)
    deepEqual(
      queued.map(({ message }) => message.publisherId),
      ['d-1/1', 'g-1/1', 'g-1@d-1/1', 'g-1,d-1/1'],
    )
    equal(new Set(ids).size, ids.length)
  })

  test('a message that nothing matches is accepted with an id of ours', async () => {
    const { accept } = make()
    const answer = await accept(device, publish)
    equal(answer.kind, 'accepted')
    match(answer.id, /^[0-9a-f]{8}-[0-9a-f]{4}-7/)
  })

  const refusals: readonly [
    what: string,
    speaker: Speaker,
    publish: Partial<Publish>,
    status: number,
    reason: string,
  ][] = [
    ['a wildcard', device, { topic: 'a/+' }, 400, 'topic'],
    ['an empty topic', device, { topic: '' }, 400, 'topic'],
    ['NUL in the topic', device, { topic: 'a\0b' }, 400, 'topic'],
    ['nine levels', device, { topic: '1/2/3/4/5/6/7/8/9' }, 400, 'topic'],
    ['an id with spaces', device, { id: 'a b' }, 400, 'request'],
    ['a large payload', device, { payload: Buffer.alloc(101) }, 413, 'size'],
    ['a topic that no policy allows', device, { topic: 'closed/x' }, 403, 'policy'],
    [
      'a retained message where only publishing is allowed',
      device,
      { topic: 'fleeting/x', retain: true },
      403,
      'policy',
    ],
    ['another thing’s name', device, { thing: 'd-2' }, 403, 'speaking-for'],
    ['another client id', device, { clientId: 'd-2' }, 403, 'speaking-for'],
    ['an unregistered thing', gateway, { thing: 'ghost' }, 403, 'unknown-thing'],
    ['a thing whose own policies say no', gateway, { thing: 'mute' }, 403, 'thing-policy'],
  ]
  for (const [what, speaker, part, status, reason] of refusals) {
    test(`refuses ${what} with ${status}`, async () => {
      const { accept, queued } = make([{ kind: 'deliveries', rule: 'r', deliveries: [delivery] }])
      const answer = await accept(speaker, { ...publish, ...part })
      equal(answer.kind, 'refused')
      deepEqual(
        [answer.kind === 'refused' && answer.status, answer.kind === 'refused' && answer.reason],
        [status, reason],
      )
      deepEqual(queued, [])
    })
  }

  test('on behalf of a thing, the message carries the thing and not the speaker’s client id', async () => {
    const { accept, queued } = make([{ kind: 'deliveries', rule: 'r', deliveries: [delivery] }])
    equal((await accept(gateway, { ...publish, thing: 'd-9' })).kind, 'accepted')
    deepEqual(
      [queued[0]?.message.principal, queued[0]?.message.thing, queued[0]?.message.clientId],
      ['g-1', 'd-9', undefined],
    )
  })

  test('an unregistered thing is let through where its speaker may bring unknown ones', async () => {
    const { accept } = make()
    const trusting: Speaker = { ...gateway, principal: { ...gateway.principal, unknownThings: 'allow' } }
    equal((await accept(trusting, { ...publish, thing: 'ghost' })).kind, 'accepted')
  })

  test('with trust in topics, the thing’s own policies are not asked', async () => {
    const { accept } = make()
    const trusting: Speaker = { ...gateway, principal: { ...gateway.principal, trust: 'topics' } }
    equal((await accept(trusting, { ...publish, thing: 'mute' })).kind, 'accepted')
  })

  test('over its limit a principal is asked to wait, and a bridge never is', async () => {
    const { accept } = make()
    for (let count = 0; count < 3; count++) equal((await accept(device, publish)).kind, 'accepted')
    const later = await accept(device, publish)
    deepEqual(later.kind === 'later' && [later.status, later.afterMs], [429, 334])
    const bridge: Speaker = { ...gateway, principal: { ...gateway.principal, method: 'bridge' } }
    for (let count = 0; count < 10; count++) equal((await accept(bridge, publish)).kind, 'accepted')
  })

  test('with the queue away the answer is 503 and nothing is kept', async () => {
    const { accept } = make([{ kind: 'deliveries', rule: 'r', deliveries: [delivery] }], true)
    const later = await accept(device, publish)
    equal(later.kind === 'later' && later.status, 503)
  })

  test('a rule that fails keeps the message in its dead letters, and the other rules go on', async () => {
    const { accept, queued, failed } = make([
      { kind: 'failed', rule: 'broken', reason: 'no such thing', onError: [] },
      { kind: 'deliveries', rule: 'r', deliveries: [delivery] },
    ])
    equal((await accept(device, publish)).kind, 'accepted')
    deepEqual(failed, ['broken: no such thing'])
    equal(queued.length, 1)
  })

  test('a message that a worker published does not go to that worker again: it is kept, and the rest goes on', async () => {
    const other: Delivery = { worker: 'other', rule: 'r', action: 1 }
    const { accept, queued, failed } = make([{ kind: 'deliveries', rule: 'r', deliveries: [delivery, other] }])
    const worker: Speaker = { principal: { name: 'worker:w', method: 'token' }, protocol: 'mqtt', clientId: 'w' }
    equal((await accept(worker, publish)).kind, 'accepted')
    deepEqual(queued[0]?.deliveries, [other])
    deepEqual(failed, ['r: loop: worker w published this message, and the rule would send it there again'])
  })

  test('an error action for evaluation takes the place of the dead letter', async () => {
    const { accept, queued, failed } = make([
      { kind: 'failed', rule: 'broken', reason: 'no such thing', onError: [delivery] },
    ])
    equal((await accept(device, publish)).kind, 'accepted')
    deepEqual(failed, [])
    deepEqual(queued[0]?.deliveries, [delivery])
  })
})

describe('what no rule takes', () => {
  test('is refused where its topic names a rule that there is not, with an error line and a count', async () => {
    const { accept, queued, metrics, log } = make()
    const answer = await accept(device, { ...publish, topic: '$aws/rules/gone/a/b' })
    deepEqual(answer.kind === 'refused' && [answer.status, answer.reason], [404, 'rule-not-found'])
    deepEqual(queued, [])
    equal(metrics.total('sluice_rule_not_found_total', { door: 'http' }), 1)
    equal(metrics.total('sluice_messages_refused_total', { reason: 'rule-not-found' }), 1)
    equal(metrics.total('sluice_messages_accepted_total'), 0)
    match(log.lines.join('\n'), /RuleNotFound.*"rule":"gone".*"topic":"a\/b"/)
  })

  for (const topic of ['$aws/things/d-1/shadow/update', '$aws/things/d-1/jobs/get', '$aws/certificates/create/json'])
    test(`is refused on ${topic}, because nothing else would answer it`, async () => {
      const { accept, metrics } = make()
      const answer = await accept(device, { ...publish, topic })
      deepEqual(answer.kind === 'refused' && [answer.status, answer.reason], [403, 'reserved'])
      equal(metrics.total('sluice_messages_refused_total', { reason: 'reserved' }), 1)
      equal((await make([{ kind: 'unmatched', rule: 'r' }]).accept(device, { ...publish, topic })).kind, 'accepted')
    })

  test('goes to the workers that are for it, is counted all the same, and nothing of Sluice’s own does', async () => {
    const rest: RuleOutcome = {
      kind: 'deliveries',
      rule: '$unmatched',
      deliveries: [{ ...delivery, rule: '$unmatched' }],
    }
    const { accept, acceptBatch, event, queued, metrics } = make([], false, rest)
    equal((await accept(device, publish)).kind, 'accepted')
    equal((await accept(device, { ...publish, topic: '$aws/things/d-1/shadow/update' })).kind, 'accepted')
    await acceptBatch(device, [publish])
    equal((await event(device, { ...publish, topic: '$aws/events/presence/connected/c' })).kind, 'accepted')
    equal((await accept(gateway, { ...publish, topic: '$aws/rules/gone/x' })).kind, 'refused')
    deepEqual(
      queued.map(({ deliveries }) => deliveries[0]?.rule),
      ['$unmatched', '$unmatched', '$unmatched'],
    )
    equal(metrics.total('sluice_messages_unmatched_total'), 3)
    equal(metrics.total('sluice_rule_outcomes_total', { rule: '$unmatched', outcome: 'deliveries' }), 3)
  })

  test('is accepted from Sluice itself and on any other topic', async () => {
    equal((await make().event(device, { ...publish, topic: '$aws/events/presence/connected/c' })).kind, 'accepted')
    equal((await make().accept(device, publish)).kind, 'accepted')
  })
})

describe('messages of one request', () => {
  const matched: RuleOutcome[] = [{ kind: 'deliveries', rule: 'r', deliveries: [delivery] }]
  const some = (count: number, part: Partial<Publish> = {}) =>
    Array.from({ length: count }, () => ({ ...publish, ...part }))

  test('come in whole though they are more than a second’s, and what follows waits for them', async () => {
    const { accept, acceptBatch, queued } = make(matched)
    const taken = await acceptBatch(device, some(10))
    equal(taken.kind === 'each' && taken.answers.every(({ kind }) => kind === 'accepted'), true)
    equal(queued.length, 10)
    const later = await accept(device, publish)
    deepEqual(later.kind === 'later' && [later.status, later.afterMs], [429, 2_667])
  })

  test('are put off whole before anything is in', async () => {
    const { acceptBatch, queued, metrics } = make(matched)
    await acceptBatch(device, some(10))
    const later = await acceptBatch(device, some(10))
    const answer = later.kind === 'whole' && later.answer.kind === 'later' ? later.answer : undefined
    deepEqual([answer?.status, answer?.afterMs], [429, 2_667])
    equal(queued.length, 10)
    equal(metrics.total('sluice_messages_deferred_total', { status: '429' }), 10)
  })

  test('that are more than could ever come in together are refused whole, with the limit', async () => {
    const { acceptBatch, queued } = make(matched)
    const refused = await acceptBatch(device, some(181))
    const answer = refused.kind === 'whole' && refused.answer.kind === 'refused' ? refused.answer : undefined
    equal(answer?.status, 413)
    match(answer?.message ?? '', /more than the 180 .*limits\.publishesPerSecond/)
    equal(queued.length, 0)
  })

  test('each have an answer, and those that are refused cost nothing', async () => {
    const { acceptBatch, queued } = make(matched)
    const taken = await acceptBatch(device, [
      ...some(1),
      ...some(2, { topic: 'closed/x' }),
      ...some(2),
      ...some(1, { topic: 'closed/x' }),
    ])
    deepEqual(taken.kind === 'each' && taken.answers.map(({ kind }) => kind), [
      'accepted',
      'refused',
      'refused',
      'accepted',
      'accepted',
      'refused',
    ])
    deepEqual(
      taken.kind === 'each' && taken.answers.flatMap((answer) => (answer.kind === 'accepted' ? answer.id : [])),
      queued.map(({ message }) => message.id),
    )
    const none = await acceptBatch(device, some(2, { topic: 'closed/x' }))
    deepEqual(none.kind === 'each' && none.answers.map(({ kind }) => kind), ['refused', 'refused'])
  })

  test('that are put off are told to come when their limit lets them, too', async () => {
    const { acceptBatch } = make(matched, true)
    const taken = await acceptBatch(device, some(30))
    const waits = taken.kind === 'each' ? taken.answers.map((answer) => answer.kind === 'later' && answer.afterMs) : []
    deepEqual(new Set(waits), new Set([9_334]))
    const again = await acceptBatch(device, some(30))
    equal(again.kind === 'whole' && again.answer.kind === 'later' && again.answer.afterMs, 9_334)
  })

  test('are put off each where there is no room in the queue for all', async () => {
    const { acceptBatch, queued } = make(matched, true)
    const taken = await acceptBatch(device, some(3))
    deepEqual(taken.kind === 'each' && taken.answers.map(({ kind }) => kind), ['later', 'later', 'later'])
    equal(queued.length, 0)
  })
})

test('a message that is kept in one place and not in another is in doubt, and counted', async () => {
  for (const isKept of [true, false]) {
    const metrics = countedMetrics()
    const outcomes: RuleOutcome[] = [
      { kind: 'failed', rule: 'a', reason: 'no', onError: [] },
      { kind: 'deliveries', rule: 'r', deliveries: [delivery] },
    ]
    const accept = createAccept('http', {
      access: () => access,
      rules: () => ({
        hash: 'r1',
        rules: [],
        evaluate: async () => outcomes,
        unmatched: async () => undefined,
        errorActions: async () => [],
      }),
      enqueue: (messages) => messages.map(() => Promise.reject(new QueueAwayError('away', false))),
      keepFailed: () => (isKept ? Promise.resolve() : Promise.reject(new QueueAwayError('away', false))),
      limiter: new RateLimiter({ publishesPerSecond: 3, bytesPerSecond: 10_000 }, () => 0),
      limits: { bytes: 256, levels: 8, payload: 100 },
      log: silent,
      metrics,
    })
    equal((await accept(device, publish)).kind, 'later')
    equal(metrics.total('sluice_messages_in_doubt_total'), isKept ? 1 : 0)
  }
})

test('what full owners let fall by the config, workers and rules that fail, is counted when the rest is in and not before', async () => {
  const outcomes: RuleOutcome[] = [
    { kind: 'failed', rule: 'a', reason: 'no', onError: [] },
    { kind: 'deliveries', rule: 'r', deliveries: [delivery, { ...delivery, worker: 'full' }] },
  ]
  const dropped: unknown[] = []
  const kept: string[] = []
  const going: string[] = []
  let isAway = true
  const accept = createAccept('http', {
    access: () => access,
    rules: () => ({
      hash: 'r1',
      rules: [],
      evaluate: async () => outcomes,
      unmatched: async () => undefined,
      errorActions: async () => [],
    }),
    enqueue: (messages) =>
      messages.map(async ({ deliveries }) => {
        if (isAway) throw new QueueAwayError('away', false)
        going.push(...deliveries.map(({ worker }) => worker))
      }),
    keepFailed: async (_message, rule) => void kept.push(rule),
    room: { ...endlessRoom, dropsNewest: (owner) => owner === 'full' || owner === 'rule:a' },
    onDropped: (one) => void dropped.push(one),
    limiter: new RateLimiter({ publishesPerSecond: 3, bytesPerSecond: 10_000 }, () => 0),
    limits: { bytes: 256, levels: 8, payload: 100 },
    log: silent,
    metrics: countedMetrics(),
  })
  equal((await accept(device, publish)).kind, 'later')
  deepEqual(dropped, [])
  isAway = false
  equal((await accept(device, publish)).kind, 'accepted')
  deepEqual([going, kept], [[delivery.worker], []])
  deepEqual(dropped, [
    { owner: 'full', reason: 'full', entries: [{ rule: delivery.rule, action: delivery.action }] },
    { owner: 'rule:a', reason: 'full', entries: [{ rule: 'a', action: 0 }] },
  ])
})
