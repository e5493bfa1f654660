import { equal, match, ok } from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { callControl } from '../../src/admin/client.ts'
import { freePort, temporaryFolder, until } from '../support/cleanup.ts'
import { startMosquitto } from '../support/mosquitto.ts'
import { mqttClient } from '../support/mqtt.ts'
import { startRedis } from '../support/redis.ts'
import { oneForEverything, ready, sluice, writeFiles } from '../support/sluice.ts'

const token = 'a-token-for-this-test'

test('a worker that is down is refused at its bound before anything is acknowledged, while others go on, and takes again when it is up', async (t) => {
  const [folder, port, mqttPort, broker, redis] = [
    await temporaryFolder(t),
    await freePort(),
    await freePort(),
    await startMosquitto(t),
    await startRedis(t, { parameters: ['--maxmemory', '24mb'] }),
  ]
  const config = await writeFiles(folder, {
    'sluice.yaml': {
      data: './data',
      listen: { http: { port }, mqtt: { port: mqttPort } },
      bridges: [{ name: 'plant', url: broker.url, topics: ['up', 'down'] }],
      queue: redis.url,
      limits: { publishesPerSecond: 100_000, bytesPerSecond: '1GiB' },
    },
    'identity/all.yaml': oneForEverything(token),
    'rules/down.yaml': 'from: down\nto: [{ worker: down }]\n',
    'rules/both.yaml': 'from: both\nto: [{ worker: up }, { worker: down }]\n',
    'rules/up.yaml': 'from: up\nto: [{ worker: up }]\n',
    'rules/newest.yaml': 'from: newest\nto: [{ worker: newest }]\n',
    'rules/broken.yaml': 'from: broken\nselect: $number(text)\nto: [{ worker: up }]\n',
    'workers/down.yaml': { kind: 'file', path: join(folder, 'down.ndjson'), backlog: { max: '2MiB' } },
    'workers/up.yaml': { kind: 'file', path: join(folder, 'up.ndjson') },
    'workers/newest.yaml': {
      kind: 'file',
      path: join(folder, 'newest.ndjson'),
      backlog: { max: '256KiB', whenFull: 'drop-newest' },
    },
  })
  await ready(sluice(t, config, ['ingest']))
  const post = async (topic: string, body: string) => {
    const headers = { authorization: `Bearer ${token}` }
    const response = await fetch(`http://127.0.0.1:${port}/topics/${topic}`, { method: 'POST', headers, body })
    return { status: response.status, after: response.headers.get('retry-after'), text: await response.text() }
  }
  const payload = (n: number) => JSON.stringify({ n, filler: 'x'.repeat(20_000) })
  /** Publishes until it is refused; gives the numbers that were acknowledged. */
  const fill = async (topic: string, most: number) => {
    const accepted: number[] = []
    for (let n = 0; n < most; n += 1) {
      const { status } = await post(topic, payload(n))
      if (status !== 200) return accepted
      accepted.push(n)
    }
    return accepted
  }
  const accepted = await fill('down', 1_000)
  ok(accepted.length > 50 && accepted.length < 130, `${accepted.length} of 20 kB in 2 MiB`)
  const refused = await post('both', payload(-1))
  equal(refused.status, 503)
  match(refused.text, /the backlog of worker down is full/)
  ok(Number(refused.after) >= 1)
  equal((await post('up', '{"up":1}')).status, 200)
  equal((await post('nothing', '{}')).status, 200)

  // A bridge holds what comes behind a message for the full worker, and an MQTT client isn't acknowledged; other doors go on.
  const device = await mqttClient(t, `mqtt://127.0.0.1:${mqttPort}`, {
    username: 'p',
    password: token,
    protocolVersion: 4,
  })
  let acknowledged = false
  void device.publishAsync('down', payload(-3), { qos: 1 }).then(
    () => (acknowledged = true),
    () => {},
  )
  const publisher = await mqttClient(t, broker.url)
  await publisher.publishAsync('down', payload(-4), { qos: 1 })
  await publisher.publishAsync('up', payload(-5), { qos: 1 })
  equal((await post('up', '{"up":2}')).status, 200)

  // What may be let fall is acknowledged, and counted.
  for (let n = 0; n < 40; n += 1) equal((await post('newest', payload(n))).status, 200)
  const command = async (...parameters: string[]) => {
    const ran = sluice(t, config, parameters)
    await ran.ended()
    return ran.output()
  }
  await until('status says so', async () => /down .*FULL: \d+% of 2 MiB/.test(await command('status')))
  const metrics = async () => String((await callControl(join(folder, 'data/control.sock'), 'GET', '/metrics')).body)
  const page = await metrics()
  ok(!acknowledged)
  match(page, /sluice_bridge_in_flight\{bridge="plant"\} [12]\b/)
  match(page, /sluice_worker_backlog_limit_bytes\{worker="down"\} 2097152/)
  const dropped = Number(/sluice_messages_dropped_total\{owner="newest",reason="full"\} (\d+)/.exec(page)?.[1])
  ok(dropped > 10 && dropped < 40, `${dropped}`)

  // The far side is up again: everything that was acknowledged is delivered, and what is new is taken.
  await ready(sluice(t, config, ['worker', 'down']))
  await until('it takes again', async () => (await post('both', payload(-2))).status === 200)
  const numbers = () =>
    readFileSync(join(folder, 'down.ndjson'), 'utf8')
      .trim()
      .split('\n')
      .map((line) => (JSON.parse(line) as { n: number }).n)
  await until('all are there', () => numbers().includes(-2) && numbers().includes(-4))
  const seen = new Set(numbers())
  for (const n of accepted) ok(seen.has(n), `${n}`)
  ok(!seen.has(-1), 'what was refused went nowhere')
  const ledger = sluice(t, config, ['ledger'])
  equal(await ledger.ended(), 0, ledger.output())
})

test('a Redis that comes near its maxmemory takes nothing more, is not ready, and is worked off', async (t) => {
  const [folder, port, redis] = [
    await temporaryFolder(t),
    await freePort(),
    // Some seconds' worth of what is published: what it takes is measured once a second, and estimated between.
    await startRedis(t, { parameters: ['--maxmemory', '40mb'] }),
  ]
  const config = await writeFiles(folder, {
    'sluice.yaml': {
      data: './data',
      listen: { http: { port } },
      queue: redis.url,
      backlog: { max: '100%' },
      limits: { publishesPerSecond: 100_000, bytesPerSecond: '1GiB' },
    },
    'identity/all.yaml': oneForEverything(token),
    'rules/down.yaml': 'from: down\nto: [{ worker: down }]\n',
    'workers/down.yaml': { kind: 'file', path: join(folder, 'down.ndjson') },
  })
  await ready(sluice(t, config, ['ingest']))
  const post = (n: number) =>
    fetch(`http://127.0.0.1:${port}/topics/down`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}` },
      body: JSON.stringify({ n, filler: 'x'.repeat(50_000) }),
    })
  const accepted: number[] = []
  let refused = ''
  while (refused === '' && accepted.length < 2_000) {
    const response = await post(accepted.length)
    const text = await response.text()
    if (response.status === 200) accepted.push(accepted.length)
    else refused = text
  }
  match(refused, /the queue has no room left/)
  ok(accepted.length > 50, `${accepted.length}`)
  const readyz = () => fetch(`http://127.0.0.1:${port}/readyz`).then(({ status }) => status)
  equal(await readyz(), 503)
  await ready(sluice(t, config, ['worker', 'down']))
  await until('it is ready again', async () => (await readyz()) === 200)
  const lines = () => readFileSync(join(folder, 'down.ndjson'), 'utf8').split('\n').length - 1
  await until('all are delivered', () => lines() >= accepted.length)
  equal((await post(-1)).status, 200)
})
