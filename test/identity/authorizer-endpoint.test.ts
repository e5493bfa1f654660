import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { describe, it, type TestContext } from 'node:test'
import { letIn, mqttNaming, openBoth, reasons } from '../support/authorizers.ts'
import { makeCertificates } from '../support/certificates.ts'
import { freePort } from '../support/cleanup.ts'
import { startHttpTarget } from '../support/http-target.ts'

const refused = { kind: 'refused', reason: 'unknown authorizer or wrong credential' }
const good = { status: 200, body: JSON.stringify(letIn()) }

async function asked(t: TestContext, more: Readonly<Record<string, unknown>> = {}) {
  const target = await startHttpTarget(t)
  target.answer = () => good
  const both = openBoth(t, [{ name: 'first', url: `${target.url}/ask?code=c1`, signing: 'disabled', ...more }])
  return { target, both, log: both.log, ask: () => both.authenticate(mqttNaming('first')) }
}

describe('an authorizer behind HTTP', () => {
  it('gets a POST with JSON, over one connection', async (t) => {
    const { target, ask } = await asked(t)
    for (let index = 0; index < 3; index++) assert.equal((await ask()).kind, 'principal')
    const [request] = target.received
    assert.equal(request?.method, 'POST')
    assert.equal(request?.url, '/ask?code=c1')
    assert.equal(request?.headers['content-type'], 'application/json')
    assert.equal(request?.headers['user-agent'], 'sluice')
    assert.equal(request?.headers['webhook-signature'], undefined)
    assert.equal(target.connections(), 1)
  })

  it('can tell by the signature whose question it is', async (t) => {
    const key = Buffer.alloc(32, 7)
    const { target, both, ask } = await asked(t, { secret: `whsec_${key.toString('base64')}` })
    await ask()
    await ask()
    for (const { headers, body } of target.received) {
      const { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': signature } = headers
      assert.match(String(id), /^arn:aws:iot:eu-west-1:123456789012:authorizer\/first:[0-9a-f-]{36}$/)
      assert.equal(timestamp, String(both.time / 1_000))
      const expected = createHmac('sha256', key).update(`${String(id)}.${timestamp}.${body.toString()}`)
      assert.equal(signature, `v1,${expected.digest('base64')}`)
    }
    assert.notEqual(target.received[0]?.headers['webhook-id'], target.received[1]?.headers['webhook-id'])
  })

  it('lets nobody in by another status, a redirect, an endless or a broken answer', async (t) => {
    const { target, ask, log } = await asked(t)
    const elsewhere = await startHttpTarget(t)
    elsewhere.answer = () => good
    for (const answer of [
      { ...good, status: 201 },
      { ...good, status: 500 },
      { status: 307, headers: { location: elsewhere.url } },
      { status: 200, body: `${good.body}${' '.repeat(65_536)}` },
    ]) {
      target.answer = () => answer
      assert.deepEqual(await ask(), refused)
    }
    target.answer = () => (response) =>
      void response.writeHead(200, { 'content-length': 100 }).write(good.body, () => response.destroy())
    assert.deepEqual(await ask(), refused)
    target.answer = () => (response) => response.destroy()
    assert.deepEqual(await ask(), refused)
    assert.equal(elsewhere.received.length, 0)
    assert.deepEqual(reasons(log).slice(0, 4), [
      'the answer has status 201, not 200',
      'the answer has status 500, not 200',
      'the answer has status 307, not 200',
      'the answer has more than 65536 bytes',
    ])
    target.answer = () => good
    assert.equal((await ask()).kind, 'principal')
  })

  it('lets nobody in when it takes too long, before its answer or in it', async (t) => {
    const { target, ask, log } = await asked(t, { timeout: '200ms' })
    target.answer = () => () => {}
    assert.deepEqual(await ask(), refused)
    target.answer = () => (response) => void response.writeHead(200).write('{')
    assert.deepEqual(await ask(), refused)
    assert.deepEqual(reasons(log), ['no answer within 200 ms', 'no answer within 200 ms'])
  })

  it('lets nobody in when it is not there', async (t) => {
    const both = openBoth(t, [{ name: 'first', url: `http://127.0.0.1:${await freePort()}/`, signing: 'disabled' }])
    assert.deepEqual(await both.authenticate(mqttNaming('first')), refused)
    assert.match(reasons(both.log)[0] ?? '', /ECONNREFUSED/)
  })

  it('is asked over TLS when its authority is trusted', async (t) => {
    const { ca, cert, key } = await makeCertificates(t)
    const target = await startHttpTarget(t, { tls: { cert, key } })
    target.answer = () => good
    const both = openBoth(t, [
      { name: 'trusted', url: target.url, ca, signing: 'disabled' },
      { name: 'strange', url: target.url, signing: 'disabled' },
    ])
    assert.equal((await both.authenticate(mqttNaming('trusted'))).kind, 'principal')
    assert.deepEqual(await both.authenticate(mqttNaming('strange')), refused)
    assert.equal(target.received.length, 1)
  })

  it('takes a hundred calls at a time; connections that are asked about again wait for their turn', async (t) => {
    const { target, both, ask, log } = await asked(t)
    const verdict = await ask()
    assert.ok(verdict.kind === 'principal')
    both.time += 300_000
    let release = () => {}
    const open = new Promise<void>((resolve) => (release = resolve))
    target.answer = async () => {
      await open
      return good
    }
    const slow = Array.from({ length: 100 }, ask)
    const again = both.renew(mqttNaming('first'), verdict.principal)
    assert.deepEqual(await ask(), refused)
    assert.deepEqual(reasons(log), ['100 calls are in flight already'])
    release()
    for (const one of await Promise.all([...slow, again])) assert.equal(one.kind, 'principal')
    assert.equal(target.received.length, 102)
  })
})
