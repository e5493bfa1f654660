import { equal, match } from 'node:assert/strict'
import { test } from 'node:test'
import { connectAsync } from 'mqtt'
import { freePort, temporaryFolder, until } from '../support/cleanup.ts'
import { allowEverything, post, principalEntry, ready, sluice, writeFiles } from '../support/sluice.ts'

// The mqtt worker speaks to the embedded broker like any client, as a principal of its own, and devices hear it.
test(
  'a worker republishes into the embedded broker, and a rule that takes what it made does not go round',
  { timeout: 60_000 },
  async (context) => {
    const [folder, http, mqtt] = [await temporaryFolder(context), await freePort(), await freePort()]
    const config = await writeFiles(folder, {
      'sluice.yaml': { listen: { http: { port: http }, mqtt: { port: mqtt } } },
      'identity/all.yaml': {
        principals: [
          principalEntry('p', 'token-of-p', { policies: ['all'] }),
          principalEntry('worker:back', 'token-of-the-worker', { policies: ['all'] }),
        ],
        policies: { all: allowEverything },
      },
      // It takes its own output: a/x becomes a/again, which becomes a/again …
      'rules/round.yaml': "from: a/#\nto: [{ worker: back, with: { topic: 'a/again' } }]\n",
      'workers/back.yaml': {
        kind: 'mqtt',
        url: `mqtt://127.0.0.1:${mqtt}`,
        credential: { type: 'mqtt', username: 'worker:back', password: '${env:BACK_TOKEN}' },
      },
    })
    const running = sluice(context, config, ['start'], { env: { BACK_TOKEN: 'token-of-the-worker' } })
    await ready(running)
    const client = await connectAsync(`mqtt://127.0.0.1:${mqtt}`, {
      protocolVersion: 4,
      clientId: 'ear',
      username: 'p',
      password: 'token-of-p',
      reconnectPeriod: 0,
    })
    context.after(() => client.endAsync(true))
    let heard = 0
    client.on('message', () => void (heard += 1))
    await client.subscribeAsync('a/again', { qos: 1 })
    equal((await post(http, 'token-of-p', 'a/x', '{"n":1}')).status, 200)
    await until('heard', () => heard > 0, 20_000)

    const ls = async () => {
      const ran = sluice(context, config, ['dead-letters', 'ls', '--json'])
      equal(await ran.ended(), 0, ran.output())
      return (JSON.parse(ran.output()) as { letters: { owner: string; reason: string }[] }).letters
    }
    const letters = await until('the looping one is kept', async () => (await ls()).length > 0 && (await ls()))
    equal(letters.length, 1)
    equal(letters[0]?.owner, 'rule:round')
    match(letters[0]?.reason ?? '', /^loop: worker back published this message/)
    equal(heard, 1)
    equal(await running.stop(), 0, running.output())
  },
)
