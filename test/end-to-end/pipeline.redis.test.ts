import { deepEqual, equal, ok } from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { DeleteMessageBatchCommand, ReceiveMessageCommand, SQSClient } from '@aws-sdk/client-sqs'
import { startFauxqs } from 'fauxqs'
import { connectAsync } from 'mqtt'
import { temporaryFolder, until } from '../support/cleanup.ts'
import { startMosquitto } from '../support/mosquitto.ts'
import { emptiedLedger } from '../support/ledger.ts'
import { startReceiver } from '../support/receiver.ts'
import { startRedis } from '../support/redis.ts'
import { logLines, ready, sluice, writeFiles } from '../support/sluice.ts'

const messages = 20_000
const things = 200

// The main job, on the real parts: 20,000 QoS 1 messages of 200 things, and a kill -9 of ingest and of a worker in the middle.
test(
  'Mosquitto → bridge → rules → Redis → sqs and http: nothing acknowledged is missing after kill -9',
  { timeout: 150_000 },
  async (context) => {
    const [folder, mosquitto, redis, receiver] = [
      await temporaryFolder(context),
      await startMosquitto(context),
      await startRedis(context),
      await startReceiver(context),
    ]
    const sqs = await startFauxqs({ port: 0, logger: false })
    context.after(() => sqs.stop())
    sqs.createQueue('alerts')

    const config = await writeFiles(folder, {
      'sluice.yaml': {
        listen: {},
        bridges: [
          {
            name: 'plant',
            url: mosquitto.url,
            topics: ['devices/#'],
            share: 'sluice',
            thing: '${ $topic(2) }',
            actsFor: ['*'],
          },
        ],
        queue: redis.url,
      },
      'identity/things.yaml': {
        things: Array.from({ length: things }, (_, index) => ({ name: `d-${index}`, groups: ['fleet'] })),
        groups: [{ name: 'fleet', policies: ['telemetry'] }],
        policies: {
          telemetry: {
            Version: '2012-10-17',
            Statement: [
              {
                Effect: 'Allow',
                Action: 'iot:Publish',
                Resource: 'arn:aws:iot:*:*:topic/devices/${iot:Connection.Thing.ThingName}/*',
              },
            ],
          },
        },
      },
      'rules/all.yaml': `from: devices/+/telemetry\nselect: '{ "n": n, "thing": $topic(2) }'\nto: [{ worker: alerts }, { worker: hook }]\n`,
      'workers/alerts.yaml': {
        kind: 'sqs',
        queueUrl: `http://127.0.0.1:${sqs.port}/000000000000/alerts`,
        region: 'eu-west-1',
        endpoint: `http://127.0.0.1:${sqs.port}`,
        credential: { type: 'aws-keys', accessKeyId: 'alerts', secretAccessKey: '${env:ALERTS_SECRET}' },
      },
      'workers/hook.yaml': {
        kind: 'http',
        url: receiver.url,
        batch: 'json-array',
        credential: { type: 'bearer', token: '${env:HOOK_TOKEN}' },
      },
    })
    const start = {
      ingest: () => sluice(context, config, ['ingest']),
      alerts: () => sluice(context, config, ['worker', 'alerts'], { env: { ALERTS_SECRET: 'alerts-secret-key' } }),
      hook: () => sluice(context, config, ['worker', 'hook'], { env: { HOOK_TOKEN: 'hook-secret-token' } }),
    }
    // Ingest has none of the workers' secrets in its environment, and each worker only its own.
    let [ingest, alerts, hook] = [start.ingest(), start.alerts(), start.hook()]
    await Promise.all([ready(ingest), ready(alerts), ready(hook)])
    await until('the bridge is connected', () => logLines(ingest).some(({ msg }) => msg === 'connected'))

    const publishing = publishAll(context, mosquitto.port)
    await until('a fifth has come through', () => receiver.seen.size > messages / 5, 60_000)
    await ingest.stop('SIGKILL')
    ingest = start.ingest()
    await ready(ingest)
    await until('half has come through', () => receiver.seen.size > messages / 2, 60_000)
    await Promise.all([alerts.stop('SIGKILL'), hook.stop('SIGKILL')])
    ;[alerts, hook] = [start.alerts(), start.hook()]
    await publishing

    const bodies = () => new Set([...receiver.seen.keys()].map((body) => (JSON.parse(body) as { n: number }).n))
    await until(
      `all at the http worker's far side, and there are ${bodies().size}`,
      () => bodies().size === messages,
      60_000,
    )
    deepEqual(
      [...bodies()].toSorted((a, b) => a - b),
      Array.from({ length: messages }, (_, index) => index),
    )
    const drained = await drain(sqs.port, messages)
    equal(drained.size, messages)
    equal(receiver.requests[0]?.headers.authorization, 'Bearer hook-secret-token')
    const rows = await emptiedLedger(context, folder)
    deepEqual(
      rows.map(({ rule, worker }) => [rule, worker]),
      [
        ['all', 'alerts'],
        ['all', 'hook'],
      ],
    )
    // What was in the queue and not yet acknowledged at the kill is published once more.
    for (const { accepted, delivered } of rows)
      ok(accepted >= messages && delivered === accepted, `${accepted} ${delivered}`)
    for (const running of [ingest, alerts, hook]) equal(await running.stop(), 0, running.output())
    for (const running of [ingest, alerts, hook])
      equal(/alerts-secret-key|hook-secret-token/.test(running.output()), false)
  },
)

async function publishAll(context: TestContext, port: number): Promise<void> {
  const client = await connectAsync(`mqtt://127.0.0.1:${port}`, { protocolVersion: 5, reconnectPeriod: 0 })
  context.after(() => client.endAsync(true))
  let next = 0
  const lane = async (): Promise<void> => {
    while (next < messages) {
      const n = next++
      await client.publishAsync(`devices/d-${n % things}/telemetry`, JSON.stringify({ n, celsius: 20 + (n % 10) }), {
        qos: 1,
      })
    }
  }
  await Promise.all(Array.from({ length: 200 }, lane))
}

/** Receives and deletes until so many different messages have been seen, or none has come for a while. */
async function drain(port: number, wanted: number): Promise<ReadonlySet<number>> {
  const client = new SQSClient({
    region: 'eu-west-1',
    endpoint: `http://127.0.0.1:${port}`,
    credentials: { accessKeyId: 'x', secretAccessKey: 'x' },
  })
  const QueueUrl = `http://127.0.0.1:${port}/000000000000/alerts`
  const seen = new Set<number>()
  const end = Date.now() + 60_000
  const lane = async (): Promise<void> => {
    while (seen.size < wanted && Date.now() < end) {
      const { Messages = [] } = await client.send(
        new ReceiveMessageCommand({ QueueUrl, MaxNumberOfMessages: 10, WaitTimeSeconds: 1 }),
      )
      for (const { Body = '{}' } of Messages) seen.add((JSON.parse(Body) as { n: number }).n)
      const Entries = Messages.map(({ ReceiptHandle }, index) => ({ Id: String(index), ReceiptHandle }))
      if (Entries.length > 0) await client.send(new DeleteMessageBatchCommand({ QueueUrl, Entries }))
    }
  }
  await Promise.all(Array.from({ length: 4 }, lane))
  client.destroy()
  return seen
}
