import { deepEqual, equal, match } from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { freePort, temporaryFolder, until } from '../support/cleanup.ts'
import { command } from '../support/command.ts'
import { startMosquitto } from '../support/mosquitto.ts'
import { mqttClient } from '../support/mqtt.ts'
import { logLines, ready, sluice, writeFiles } from '../support/sluice.ts'

interface Letters {
  readonly letters: readonly {
    readonly id: string
    readonly owner: string
    readonly kind: string
    readonly reason: string
    readonly topic: string
    readonly traceId: string
    readonly thing?: string
  }[]
}

const policy = (name: string) => ({
  Version: '2012-10-17',
  Statement: [{ Effect: 'Allow', Action: 'iot:Publish', Resource: `arn:aws:iot:*:*:topic/devices/${name}/*` }],
})

test(
  'what a bridge acknowledged and Sluice refused is kept with the reason, and goes in when the policy is mended',
  { timeout: 90_000 },
  async (context) => {
    const [broker, folder] = await Promise.all([startMosquitto(context), temporaryFolder(context)])
    const config = await writeFiles(folder, {
      'sluice.yaml': {
        listen: { http: { port: await freePort() } },
        log: { level: 'debug' },
        bridges: [
          {
            name: 'plant',
            url: broker.url,
            topics: ['devices/#'],
            thing: '${ $topic(2) }',
            id: '${ mid }',
            actsFor: ['*'],
          },
        ],
      },
      'identity/things.yaml': { things: [{ name: 'known', policies: ['own'] }], policies: { own: policy('known') } },
      'rules/all.yaml': 'from: devices/#\nto: [{ worker: out }]\n',
      'workers/out.yaml': { kind: 'file', path: './out.ndjson' },
    })
    const running = sluice(context, config, ['start'])
    await ready(running)
    await until('the bridge has subscribed', () => logLines(running).some(({ msg }) => msg === 'subscribed'))
    const publisher = await mqttClient(context, broker.url)
    const send = (topic: string, body: unknown) => publisher.publishAsync(topic, JSON.stringify(body), { qos: 1 })
    const delivered = async () =>
      (await readFile(join(folder, 'workers', 'out.ndjson'), 'utf8').catch(() => '')).split('\n').filter(Boolean)
    const letters = async () => {
      const ran = await command(context, folder, ['dead-letters', 'ls', '--json', '--worker', 'bridge:plant'])
      return (JSON.parse(ran.stdout) as Letters).letters
    }

    await send('devices/known/t', { n: 1, mid: 'a b' })
    await send('devices/new/t', { n: 2 })
    await send('devices/known', { n: 3 })
    await send('devices', { n: 4 })
    await until('the first has come out', async () => (await delivered()).length === 1)
    const kept = await until('3 letters', async () => {
      const found = await letters()
      return found.length >= 3 ? found : undefined
    })
    deepEqual(
      kept.map(({ owner, kind, topic, thing }) => [owner, kind, topic, thing]),
      [
        ['bridge:plant', 'refused', 'devices/new/t', 'new'],
        ['bridge:plant', 'refused', 'devices/known', 'known'],
        ['bridge:plant', 'refused', 'devices', undefined],
      ],
    )
    match(kept[0]?.reason ?? '', /^unknown-thing: no thing new in identity\//)
    match(kept[1]?.reason ?? '', /^thing-policy: no statement of own allows it/)
    match(kept[2]?.reason ?? '', /^request: the message does not say which thing it is from/)
    const shown = await command(context, folder, ['dead-letters', 'show', kept[0]?.id ?? ''])
    match(shown.stdout, /"principal": "bridge:plant"[^]*"text": "\{\\"n\\":2\}"/)
    const status = await command(context, folder, ['status'])
    match(status.stdout, /bridge:plant .*a bridge/)

    const replay = async () => {
      const ran = await command(context, folder, ['dead-letters', 'replay', '--all', '--worker', 'bridge:plant'])
      return JSON.parse(ran.stdout) as unknown
    }
    deepEqual(await replay(), { replayed: 0, kept: 3, missing: 0, more: false })
    const reloads = () => logLines(running).filter(({ msg }) => msg === 'rules and identities are in force').length
    const before = reloads()
    await writeFiles(folder, {
      'identity/things.yaml': {
        things: [
          { name: 'known', policies: ['own'] },
          { name: 'new', policies: ['own'] },
        ],
        policies: { own: policy('${iot:Connection.Thing.ThingName}') },
      },
    })
    await until('it is in force', () => reloads() > before)
    deepEqual(await replay(), { replayed: 1, kept: 2, missing: 0, more: false })
    await until('it has come out', async () => (await delivered()).length === 2)
    deepEqual(
      (await delivered()).map((line) => (JSON.parse(line) as { n: number }).n),
      [1, 2],
    )
    equal((await letters()).length, 2)
    const purged = await command(context, folder, ['dead-letters', 'purge', '--all', '--kind', 'refused'])
    match(purged.stdout, /"purged":2/)
    equal(await running.stop(), 0, running.output())
  },
)
