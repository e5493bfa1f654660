import { deepEqual, equal } from 'node:assert/strict'
import { test } from 'node:test'
import { connectAsync } from 'mqtt'
import { freePort, temporaryFolder, until } from '../support/cleanup.ts'
import { allowEverything, post, principalEntry, ready, sluice, writeFiles } from '../support/sluice.ts'

test(
  'a loud device is slowed down, keeps what it has room for, and takes it from nobody else',
  { timeout: 60_000 },
  async (context) => {
    const [folder, http, mqtt] = [await temporaryFolder(context), await freePort(), await freePort()]
    const config = await writeFiles(folder, {
      'sluice.yaml': {
        listen: { http: { port: http }, mqtt: { port: mqtt } },
        limits: { publishesPerSecond: 20, retained: { perPrincipal: 2 } },
      },
      'identity/all.yaml': {
        principals: ['loud', 'quiet'].map((name) => principalEntry(name, `token-of-${name}`, { policies: ['all'] })),
        policies: { all: allowEverything },
      },
    })
    await ready(sluice(context, config, ['start']))
    const client = async (name: string) => {
      const connected = await connectAsync(`mqtt://127.0.0.1:${mqtt}`, {
        protocolVersion: 4,
        clientId: name,
        username: name,
        password: `token-of-${name}`,
        reconnectPeriod: 0,
      })
      context.after(() => connected.endAsync(true))
      return connected
    }
    const [loud, quiet] = [await client('loud'), await client('quiet')]

    // What is retained is answered 200 where it is kept, whoever fills its own room.
    const retain = async (name: string, topic: string) => {
      const headers = { authorization: `Bearer token-of-${name}` }
      const url = `http://127.0.0.1:${http}/topics/${topic}?retain=true`
      return (await fetch(url, { method: 'POST', headers, body: topic })).status
    }
    deepEqual([await retain('loud', 'r/1'), await retain('loud', 'r/2'), await retain('loud', 'r/3')], [200, 200, 507])
    equal(await retain('quiet', 'r/4'), 200)
    const kept: string[] = []
    quiet.on('message', (topic) => kept.push(topic))
    await quiet.subscribeAsync('r/#')
    await until('what was answered 200', () => kept.length === 3)
    deepEqual(kept, ['r/1', 'r/2', 'r/4'])

    // Ten seconds' worth at once: over MQTT it is read as fast as it may, over HTTP it is told to wait.
    let acknowledged = 0
    for (let n = 0; n < 200; n++) loud.publish('t', 'x', { qos: 1 }, () => void (acknowledged += 1))
    await until('the loud one has spent its second', () => acknowledged >= 20)
    const answer = await until('HTTP says 429', async () => {
      const got = await post(http, 'token-of-loud', 't', 'x')
      return got.status === 429 && got
    })
    equal(Number(answer.retryAfter) >= 1, true)

    // Meanwhile each message of the quiet one goes through at once: all ten before the loud one is done.
    for (let n = 0; n < 10; n++) await quiet.publishAsync('t', 'x', { qos: 1 })
    equal((await post(http, 'token-of-quiet', 't', 'x')).status, 200)
    equal(acknowledged < 200, true, 'the quiet one did not have to wait for the loud one')
    equal(loud.connected, true, 'and the loud one was not thrown out')
  },
)
