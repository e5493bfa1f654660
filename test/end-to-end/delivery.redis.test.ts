import { deepEqual, equal, match } from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { callControl } from '../../src/admin/client.ts'
import { freePort, temporaryFolder, until } from '../support/cleanup.ts'
import { startReceiver } from '../support/receiver.ts'
import { startRedis } from '../support/redis.ts'
import { oneForEverything, post, ready, sluice, writeFiles } from '../support/sluice.ts'

const token = 'a-token-for-this-test'

test(
  'what is refused for good goes to the error action, else to the dead letters, is shown with its bytes, and can be replayed',
  { timeout: 90_000 },
  async (context) => {
    const [folder, port, redis, receiver, trouble] = [
      await temporaryFolder(context),
      await freePort(),
      await startRedis(context),
      await startReceiver(context),
      await startReceiver(context),
    ]
    const config = await writeFiles(folder, {
      'sluice.yaml': { listen: { http: { port } }, queue: redis.url },
      'identity/all.yaml': oneForEverything(token),
      'rules/plain.yaml': 'from: plain\nto: [{ worker: hook }]\n',
      'rules/cared.yaml': 'from: cared\nto: [{ worker: hook }]\nonError: [{ worker: trouble }]\n',
      'rules/broken.yaml': 'from: broken\nselect: $number(text)\nto: [{ worker: hook }]\n',
      'workers/hook.yaml': { kind: 'http', url: receiver.url },
      'workers/trouble.yaml': { kind: 'http', url: trouble.url },
    })
    const running = sluice(context, config, ['start'])
    await ready(running, 3)
    receiver.answer(422)
    const plain = await post(port, token, 'plain', '{"big":12345678901234567890, "b" : 1}')
    equal(plain.status, 200)
    equal((await post(port, token, 'cared', '{"cared":true}')).status, 200)
    equal((await post(port, token, 'broken', '{"text":"no number"}')).status, 200)

    await until('the error action at its far side', () => trouble.requests.length === 1)
    const document = JSON.parse(trouble.requests[0]?.body ?? '{}') as Record<string, unknown>
    deepEqual(
      [document['ruleName'], document['topic'], document['base64OriginalPayload']],
      ['cared', 'cared', Buffer.from('{"cared":true}').toString('base64')],
    )

    const command = async (...parameters: string[]) => {
      const ran = sluice(context, config, ['dead-letters', ...parameters])
      equal(await ran.ended(), 0, ran.output())
      return ran.output()
    }
    type Line = { id: string; owner: string; kind: string; reason: string; traceId: string }
    const list = async () => (JSON.parse(await command('ls', '--json')) as { letters: Line[] }).letters
    const letters = await until('two dead letters', async () => (await list()).length === 2 && (await list()))
    const [hook, rule] = [
      letters.find(({ owner }) => owner === 'hook'),
      letters.find(({ owner }) => owner === 'rule:broken'),
    ]
    deepEqual([hook?.kind, hook?.traceId, rule?.kind], ['rejected', plain.body.traceId, 'evaluation'])
    match(hook?.reason ?? '', /422/)
    const shown = JSON.parse(await command('show', hook?.id ?? '')) as { original: { text: string } }
    equal(shown.original.text, '{"big":12345678901234567890, "b" : 1}')

    receiver.answer(200)
    deepEqual(JSON.parse(await command('replay', hook?.id ?? '')), { replayed: 1, kept: 0, missing: 0, more: false })
    await until('the replayed message, byte for byte', () => receiver.seen.has('{"big":12345678901234567890, "b" : 1}'))
    const sent = receiver.requests.filter(({ body }) => body.startsWith('{"big"'))
    deepEqual(
      new Set(sent.map(({ headers }) => headers['idempotency-key'])),
      new Set([`${plain.body.traceId}:plain:0`]),
    )

    // The rule is mended, and the message goes through it as it is now.
    await writeFiles(folder, {
      'rules/broken.yaml': 'from: broken\nselect: "{ \\"text\\": text }"\nto: [{ worker: hook }]\n',
    })
    equal((await callControl(join(folder, 'data/control.sock'), 'POST', '/reload')).status, 200)
    await command('replay', '--all', '--rule', 'broken')
    await until('the mended message', () => receiver.seen.has('{"text":"no number"}'))
    equal((await list()).length, 0)
    equal(await running.stop(), 0, running.output())
  },
)

test('a far side that is down or blocks loses nothing and spends no attempt', { timeout: 60_000 }, async (context) => {
  const [folder, port, redis, receiver] = [
    await temporaryFolder(context),
    await freePort(),
    await startRedis(context),
    await startReceiver(context),
  ]
  const config = await writeFiles(folder, {
    'sluice.yaml': { listen: { http: { port } }, queue: redis.url },
    'identity/all.yaml': oneForEverything(token),
    'rules/all.yaml': 'from: t\nto: [{ worker: hook }]\n',
    'workers/hook.yaml': {
      kind: 'http',
      url: receiver.url,
      delivery: { attempts: 1, backoff: { first: '50ms', max: '200ms' } },
    },
  })
  const [ingest, worker] = [sluice(context, config, ['ingest']), sluice(context, config, ['worker', 'hook'])]
  await Promise.all([ready(ingest), ready(worker)])
  receiver.answer(503)
  await post(port, token, 't', '{"n":1}')
  await until('three tries', () => receiver.requests.length >= 3)
  receiver.answer(200)
  await until('delivered', () => receiver.seen.has('{"n":1}'))
  receiver.answer(401)
  await post(port, token, 't', '{"n":2}')
  await until('blocked, and said', () => /blocked/.test(worker.output()))
  receiver.answer(200)
  await until('delivered after the probe', () => receiver.seen.has('{"n":2}'), 30_000)
  for (const running of [ingest, worker]) equal(await running.stop(), 0, running.output())
})
