import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Credential } from '../../src/core/credential.ts'
import { SluiceError } from '../../src/core/errors.ts'
import type { Item } from '../../src/core/forwarder.ts'
import type { Outcome } from '../../src/core/outcome.ts'
import { awsRole } from '../../src/credentials/aws-role.ts'
import { sqs } from '../../src/forwarders/sqs.ts'
import { forwarderConformance } from '../conformance/forwarder.ts'
import { freePort, type Scope } from '../support/cleanup.ts'
import { startHttpTarget } from '../support/http-target.ts'
import { itemOf, itemsOf } from '../support/items.ts'
import { keepLines } from '../support/logs.ts'
import { awsCredential, startTestSqs, testKeys } from '../support/queues-of-sqs.ts'
import { awsFault, startSigV4Proxy } from '../support/sigv4-proxy.ts'
import { startTestSts } from '../support/sts.ts'

const region = 'us-east-1'
const credential = awsCredential()

forwarderConformance({
  definition: sqs,
  async taking(scope) {
    const queue = (await startTestSqs(scope)).queue('q')
    return { settings: { queueUrl: queue.queueUrl, region }, credential, arrived: queue.size }
  },
  async away() {
    return { settings: { queueUrl: `http://127.0.0.1:${await freePort()}/0/q`, region }, credential }
  },
  async hanging(scope) {
    const target = await startHttpTarget(scope)
    target.answer = () => () => {}
    const received = () => target.received.length > 0
    return { settings: { queueUrl: `${target.url}/0/q`, region }, credential, received }
  },
  blocked: {
    'a queue that does not exist': async (scope) => {
      const { url } = await startTestSqs(scope)
      return { settings: { queueUrl: `${url}/000000000000/nowhere`, region }, credential }
    },
    'an access key that nobody knows': async (scope) => {
      const { queueUrl } = await guarded(scope)
      const wrong = awsCredential({ ...testKeys, accessKeyId: 'AKIANOBODY' })
      return { settings: { queueUrl, region }, credential: wrong }
    },
    'a wrong secret': async (scope) => {
      const { queueUrl } = await guarded(scope)
      const wrong = awsCredential({ ...testKeys, secretAccessKey: 'wrong-secret', sessionToken: 'a-session-token' })
      return { settings: { queueUrl, region }, credential: wrong }
    },
    'a credential that was refused': async (scope) => {
      const cause = Object.assign(new Error('no'), {
        name: 'AccessDenied',
        $fault: 'client',
        $metadata: { httpStatusCode: 403 },
      })
      const failing = awsCredential(() => Promise.reject(new SluiceError('CREDENTIAL_FAILED', 'refused', { cause })))
      return { settings: { queueUrl: (await startTestSqs(scope)).queue('q').queueUrl, region }, credential: failing }
    },
  },
  bad: {
    'an empty payload': itemOf({ payload: '' }),
    'a payload that is not text': itemOf({ payload: Buffer.from([0xff, 0xfe]) }),
    'a character that XML does not have': itemOf({ payload: 'a\u0001b' }),
    'a payload over the limit': itemOf({ payload: 'x'.repeat(1_048_577) }),
  },
  options: { attributes: { topic: 'a/b', level: 3 } },
  secrets: [testKeys.secretAccessKey, 'wrong-secret', 'a-session-token'],
})

describe('sqs, standard queue', () => {
  it('sends payloads byte for byte, with attributes', async (t) => {
    const queue = (await startTestSqs(t)).queue('q')
    const payload = '{ "pi": 3.14159265358979323846,\n"name": "Zoë" }'
    const options = { attributes: { topic: 'a/b', celsius: 31.5 } }
    assert.deepEqual(await send(t, queue.queueUrl, [itemOf({ payload, with: options })]), ['delivered'])
    const [message] = await queue.take(1)
    assert.equal(message?.Body, payload)
    assert.deepEqual(message?.MessageAttributes, {
      topic: { DataType: 'String', StringValue: 'a/b' },
      celsius: { DataType: 'Number', StringValue: '31.5' },
    })
  })

  it('sends any bytes as base64 when told to', async (t) => {
    const queue = (await startTestSqs(t)).queue('q')
    const payload = Buffer.from([0, 255, 1, 254])
    assert.deepEqual(await send(t, queue.queueUrl, [itemOf({ payload, with: { useBase64: true } })]), ['delivered'])
    assert.equal((await queue.take(1))[0]?.Body, payload.toString('base64'))
  })

  it('delays a message, with the seconds as number or as a template gives them', async (t) => {
    const queue = (await startTestSqs(t)).queue('q')
    const items = [itemOf({ id: 'a', with: { delaySeconds: 900 } }), itemOf({ id: 'b', with: { delaySeconds: '900' } })]
    assert.deepEqual(await send(t, queue.queueUrl, items), ['delivered', 'delivered'])
    assert.equal(queue.size(), 0)
    assert.equal(queue.delayed(), 2)
  })

  it('cuts a batch that weighs too much as base64 into several requests', async (t) => {
    const { url, queue } = await startTestSqs(t)
    const { queueUrl } = queue('q')
    const proxy = await startSigV4Proxy(t, { to: url, keys: [testKeys] })
    const items = itemsOf(4, { payload: Buffer.alloc(250_000, 1), with: { useBase64: true } })
    assert.deepEqual(await send(t, behind(proxy.url, queueUrl), items), Array(4).fill('delivered'))
    assert.deepEqual(
      proxy.received.map(({ body }) => (JSON.parse(body.toString()) as { Entries: [] }).Entries.length),
      [3, 1],
    )
  })

  it('refuses what only a FIFO queue takes', async (t) => {
    const { queueUrl } = (await startTestSqs(t)).queue('q')
    const [outcome] = await outcomesOf(t, queueUrl, [itemOf({ with: { messageDeduplicationId: 'x' } })])
    assert.deepEqual(outcome, { kind: 'rejected', reason: 'only a FIFO queue takes a messageDeduplicationId' })
  })
})

describe('sqs, FIFO queue', () => {
  it("groups by thing, else by principal, and deduplicates by the message's key", async (t) => {
    const queue = (await startTestSqs(t)).queue('q.fifo')
    const items = [itemOf({ id: 'm-1', thing: 'd-17' }), itemOf({ id: 'm-2', rule: 'r' })]
    assert.deepEqual(await send(t, queue.queueUrl, items), ['delivered', 'delivered'])
    assert.deepEqual(await send(t, queue.queueUrl, items), ['delivered', 'delivered'])
    const messages = await queue.take(2)
    assert.deepEqual(
      messages.map(({ Attributes }) => [Attributes?.MessageGroupId, Attributes?.MessageDeduplicationId]),
      [
        ['d-17', 'm-1:r:0'],
        ['gateway', 'm-2:r:0'],
      ],
    )
    assert.equal(queue.size(), 0)
  })

  it('uses the ids that the rule gives, hashed where SQS would not take them', async (t) => {
    const queue = (await startTestSqs(t)).queue('q.fifo')
    const long = 'Zimmer 7 '.repeat(30)
    const items = [
      itemOf({ id: 'a', with: { messageGroupId: '7', messageDeduplicationId: 'mine' } }),
      itemOf({ id: 'b', with: { messageGroupId: long } }),
      itemOf({ id: 'c', key: `${'k'.repeat(100)}:Überhitzung:0`, with: { messageGroupId: long } }),
    ]
    assert.deepEqual(await send(t, queue.queueUrl, items), Array(3).fill('delivered'))
    const ids = (await queue.take(3)).map(({ Attributes }) => Attributes ?? {})
    assert.deepEqual([ids[0]?.['MessageGroupId'], ids[0]?.['MessageDeduplicationId']], ['7', 'mine'])
    assert.match(String(ids[1]?.['MessageGroupId']), /^[0-9a-f]{64}$/)
    assert.equal(ids[1]?.['MessageGroupId'], ids[2]?.['MessageGroupId'])
    assert.match(String(ids[2]?.['MessageDeduplicationId']), /^[0-9a-f]{64}$/)
  })

  it('keeps the order of a batch', async (t) => {
    const queue = (await startTestSqs(t)).queue('q.fifo')
    assert.deepEqual(await send(t, queue.queueUrl, itemsOf(10, { thing: 'd' })), Array(10).fill('delivered'))
    const bodies = (await queue.take(10)).map(({ Body }) => Body)
    assert.deepEqual(
      bodies,
      itemsOf(10).map(({ payload }) => payload.toString()),
    )
  })

  it('refuses a delay of single messages, which AWS does not have there', async (t) => {
    const { queueUrl } = (await startTestSqs(t)).queue('q.fifo')
    assert.deepEqual(await send(t, queueUrl, [itemOf({ with: { delaySeconds: 1 } })]), ['rejected'])
  })
})

describe('sqs, answers of the far side', () => {
  const cases: readonly [status: number, code: string, kind: string][] = [
    [400, 'ThrottlingException', 'unanswered'],
    [400, 'RequestThrottled', 'unanswered'],
    [400, 'KMS.ThrottlingException', 'unanswered'],
    [503, 'ServiceUnavailable', 'unanswered'],
    [500, 'InternalFailure', 'answered'],
    [403, 'AccessDenied', 'blocked'],
    [400, 'AccessDeniedException', 'blocked'],
    [400, 'AWS.SimpleQueueService.NonExistentQueue', 'blocked'],
    [400, 'KMS.AccessDeniedException', 'blocked'],
    [400, 'KMS.DisabledException', 'blocked'],
    [403, 'ExpiredToken', 'blocked'],
    [403, 'RequestExpired', 'blocked'],
    [403, 'SomethingNew', 'blocked'],
    [400, 'AWS.SimpleQueueService.BatchRequestTooLong', 'rejected'],
    [400, 'InvalidParameterValue', 'rejected'],
  ]
  for (const [status, code, kind] of cases) {
    it(`${kind} for ${status} ${code}, after one request`, async (t) => {
      const { url, queueUrl, proxy } = await guarded(t)
      proxy.faults.push(awsFault(status, code, 'because\nof this'))
      const outcomes = await outcomesOf(t, queueUrl, itemsOf(2))
      assert.deepEqual(outcomes.map(shape), [kind, kind], JSON.stringify(outcomes))
      assert.equal(proxy.received.length, 1, 'the SDK must not try again by itself')
      assert.ok(url)
    })
  }

  const entries: readonly [code: string, senderFault: boolean, kind: string][] = [
    ['InvalidMessageContents', true, 'rejected'],
    ['InvalidParameterValue', true, 'rejected'],
    ['InternalError', false, 'answered'],
    ['ServiceUnavailable', false, 'unanswered'],
    ['RequestThrottled', true, 'unanswered'],
    ['KMS.AccessDeniedException', true, 'blocked'],
    ['AccessDenied', true, 'blocked'],
  ]
  for (const [code, senderFault, kind] of entries) {
    it(`${kind} for an entry that failed with ${code}; its neighbour is delivered`, async (t) => {
      const { queueUrl, proxy } = await guarded(t)
      const Successful = [{ Id: '0', MessageId: 'x' }]
      proxy.faults.push({
        status: 200,
        headers: { 'content-type': 'application/x-amz-json-1.0' },
        body: JSON.stringify({
          Successful,
          Failed: [{ Id: '1', Code: code, SenderFault: senderFault, Message: 'no' }],
        }),
      })
      const outcomes = await outcomesOf(t, queueUrl, itemsOf(2))
      assert.deepEqual(outcomes.map(shape), ['delivered', kind], JSON.stringify(outcomes))
    })
  }

  it('is unanswered for an entry that the answer leaves out', async (t) => {
    const { queueUrl, proxy } = await guarded(t)
    proxy.faults.push({ status: 200, headers: { 'content-type': 'application/x-amz-json-1.0' }, body: '{"Failed":[]}' })
    assert.deepEqual((await outcomesOf(t, queueUrl, itemsOf(1))).map(shape), ['unanswered'])
  })

  it('is unanswered for an answer that is not of SQS', async (t) => {
    const { queueUrl, proxy } = await guarded(t)
    proxy.faults.push({ status: 502, headers: { 'content-type': 'text/html' }, body: '<h1>Bad Gateway</h1>' })
    assert.notEqual(shape((await outcomesOf(t, queueUrl, itemsOf(1)))[0]), 'delivered')
  })

  it('is unanswered when there is no answer in time, and says how long it waited', async (t) => {
    const { queueUrl, proxy } = await guarded(t)
    proxy.faults.push(() => {})
    const outcomes = await outcomesOf(t, queueUrl, itemsOf(1), { timeout: '200ms' })
    assert.deepEqual(outcomes, [{ kind: 'retry', answered: false, reason: 'no answer within 200 ms' }])
  })

  it('does not send the second request of a batch when the first was throttled', async (t) => {
    const { queueUrl, proxy } = await guarded(t)
    proxy.faults.push(awsFault(400, 'RequestThrottled'))
    const items = itemsOf(4, { payload: Buffer.alloc(250_000, 1), with: { useBase64: true } })
    assert.deepEqual((await outcomesOf(t, queueUrl, items)).map(shape), Array(4).fill('unanswered'))
    assert.equal(proxy.received.length, 1)
  })

  it('takes a credential that cannot be had for now as no answer', async (t) => {
    const { queueUrl } = await guarded(t)
    const cause = Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' })
    const away = awsCredential(() => Promise.reject(new SluiceError('CREDENTIAL_FAILED', 'STS is away', { cause })))
    const outcomes = await outcomesOf(t, queueUrl, itemsOf(1), {}, away)
    assert.deepEqual(outcomes, [{ kind: 'retry', answered: false, reason: 'STS is away' }])
  })
})

describe('sqs, with a role', () => {
  const roleArn = 'arn:aws:iam::123456789012:role/alerts'
  const user = { accessKeyId: 'AKIAUSER', secretAccessKey: 'the-secret-of-the-user' }

  /** A door that lets in what STS issued, and nobody else: not the user who assumes the role either. */
  async function withRole(scope: Scope) {
    const sts = await startTestSts(scope, { users: [user], trust: [{ roleArn, by: user.accessKeyId }] })
    const { queueUrl, proxy } = await guarded(scope)
    proxy.keys = sts.issued
    const settings = awsRole.settings.parse({ roleArn, endpoint: sts.url, keys: user })
    const context = { worker: 'alerts', signal: new AbortController().signal, log: keepLines() }
    return { sts, queueUrl, proxy, role: await awsRole.open(settings, context) }
  }

  it("delivers with the keys of the role, and not with the user's own", async (t) => {
    const { queueUrl, role, sts, proxy } = await withRole(t)
    assert.deepEqual((await outcomesOf(t, queueUrl, itemsOf(2), {}, role)).map(shape), ['delivered', 'delivered'])
    assert.equal(proxy.received[0]?.headers['x-amz-security-token'], sts.issued[0]?.sessionToken)
    const [own] = await outcomesOf(t, queueUrl, itemsOf(1), {}, awsCredential(user))
    assert.equal(shape(own), 'blocked')
  })

  it('is blocked when the role may not be assumed, unanswered when STS is away', async (t) => {
    const { queueUrl, role, sts, proxy } = await withRole(t)
    sts.fault = {
      status: 403,
      body: '<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>',
    }
    const [denied] = await outcomesOf(t, queueUrl, itemsOf(1), {}, role)
    assert.ok(denied?.kind === 'blocked')
    assert.match(
      denied.reason,
      /^the role arn:aws:iam::123456789012:role\/alerts could not be assumed: AccessDenied: no$/,
    )
    await sts.stop()
    const [away] = await outcomesOf(t, queueUrl, itemsOf(1), {}, role)
    assert.equal(shape(away), 'unanswered')
    assert.equal(proxy.received.length, 0)
  })
})

describe('sqs, settings', () => {
  const hosts: readonly [url: string, region: string | undefined][] = [
    ['https://sqs.eu-west-1.amazonaws.com/1/q', 'eu-west-1'],
    ['https://eu-west-1.queue.amazonaws.com/1/q', 'eu-west-1'],
    ['https://sqs-fips.us-gov-west-1.amazonaws.com/1/q', 'us-gov-west-1'],
    ['https://sqs.cn-north-1.amazonaws.com.cn/1/q', 'cn-north-1'],
    ['https://sqs.eu-central-2.api.aws/1/q', 'eu-central-2'],
    ['https://vpce-0a1-b2.sqs.ap-southeast-4.vpce.amazonaws.com/1/q', 'ap-southeast-4'],
    ['https://sqs.eu-west-1.amazonaws.com.evil.example/1/q', undefined],
    ['http://127.0.0.1:4566/1/q', undefined],
  ]
  for (const [url, expected] of hosts) {
    it(`${expected === undefined ? 'asks for a region' : `reads ${expected}`} with ${url}`, () => {
      const settings = sqs.settings.parse({ queueUrl: url })
      const problems = sqs.examine?.(settings) ?? []
      assert.deepEqual(
        problems.map(({ path }) => path),
        expected === undefined ? ['queueUrl'] : [],
      )
    })
  }

  it('refuses options that SQS would refuse', () => {
    const bad = [
      { delaySeconds: 901 },
      { delaySeconds: 'soon' },
      { messageGroupId: '' },
      { attributes: { 'AWS.x': 'a' } },
      { attributes: { 'a..b': 'a' } },
      { attributes: { a: '' } },
      { attributes: { a: '\u0001' } },
      { attributes: Object.fromEntries(Array.from({ length: 11 }, (_, index) => [`a${index}`, 'x'])) },
    ]
    for (const options of bad) assert.equal(sqs.with.safeParse(options).success, false, JSON.stringify(options))
  })
})

/** A queue behind a door that checks signatures. */
async function guarded(scope: Scope) {
  const { url, queue } = await startTestSqs(scope)
  const proxy = await startSigV4Proxy(scope, { to: url, keys: [testKeys] })
  return { url, proxy, queueUrl: behind(proxy.url, queue('q').queueUrl) }
}

function behind(proxy: string, queueUrl: string): string {
  return `${proxy}${new URL(queueUrl).pathname}`
}

async function outcomesOf(
  scope: Scope,
  queueUrl: string,
  items: readonly Item[],
  more: object = {},
  as: Credential = credential,
): Promise<readonly Outcome[]> {
  const signal = new AbortController().signal
  const settings = sqs.settings.parse({ queueUrl, region, ...more })
  const forwarder = await sqs.open(settings, { credential: as, worker: 'w', signal, log: keepLines() })
  scope.after(() => forwarder.close())
  return forwarder.send(
    items.map((item) => ({ ...item, with: sqs.with.parse(item.with) })),
    signal,
  )
}

async function send(scope: Scope, queueUrl: string, items: readonly Item[]): Promise<readonly string[]> {
  return (await outcomesOf(scope, queueUrl, items)).map(({ kind }) => kind)
}

function shape(outcome: Outcome | undefined): string {
  if (outcome?.kind !== 'retry') return outcome?.kind ?? 'none'
  return outcome.answered ? 'answered' : 'unanswered'
}
