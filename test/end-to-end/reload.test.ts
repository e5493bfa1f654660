import { deepEqual, equal, match, ok } from 'node:assert/strict'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { callControl } from '../../src/admin/client.ts'
import { freePort, temporaryFolder, until } from '../support/cleanup.ts'
import { startLoad } from '../support/load.ts'
import { startReceiver } from '../support/receiver.ts'
import { logLines, oneForEverything, post, principalEntry, ready, sluice, writeFiles } from '../support/sluice.ts'

const token = 'a-token-for-this-test'
const second = 'a-token-that-comes-later'

test(
  'folders change under load: whole or not at all, and no request is dropped',
  { timeout: 60_000 },
  async (context) => {
    const [folder, port, receiver, late] = [
      await temporaryFolder(context),
      await freePort(),
      await startReceiver(context),
      await startReceiver(context),
    ]
    const config = await writeFiles(folder, {
      'sluice.yaml': { listen: { http: { port } }, limits: { publishesPerSecond: 100_000 } },
      'identity/all.yaml': oneForEverything(token),
      'rules/all.yaml': 'from: t\nto: [{ worker: hook }]\n',
      'workers/hook.yaml': { kind: 'http', url: receiver.url },
    })
    const running = sluice(context, config, ['start'])
    await ready(running)
    const socket = join(folder, 'data/control.sock')
    const reload = async () =>
      (await callControl(socket, 'POST', '/reload')).body as { problems: { message: string }[] }
    const said = (text: string) => logLines(running).filter(({ msg }) => String(msg).includes(text)).length
    const load = startLoad(port, token, 't', 4)
    await until('it flows', () => load.acknowledged.size > 20)

    await context.test('a file with a problem: it is said, and what runs goes on', async () => {
      // The first is fine by itself, and must not take hold without the second.
      await writeFiles(folder, {
        'identity/late.yaml': { principals: [principalEntry('late', second, { policies: ['all'] })] },
        'rules/late.yaml': 'from: late\nto: [{ worker: late, with: { nonsense: 1 } }]\n',
        'workers/late.yaml': { kind: 'http', url: late.url },
      })
      await until('it is said, unasked', () => said('has problems') > 0)
      // What the schema of the kind says of `with` is asked on reload too.
      match(JSON.stringify((await reload()).problems), /nonsense/)
      equal((await post(port, second, 't', '1')).status, 401)
      equal(said('rules and identities are in force'), 0)
      equal(
        logLines(running).some(({ msg, worker }) => msg === 'worker started' && worker === 'late'),
        false,
      )
    })

    await context.test('a new rule, worker and identity take hold by themselves', async () => {
      await writeFiles(folder, { 'rules/late.yaml': 'from: late\nto: [{ worker: late }]\n' })
      const answer = await until('the new identity is known', async () => {
        const posted = await post(port, second, 'late', '"late"')
        return posted.status === 200 && posted
      })
      equal(answer.body.message, 'OK')
      await until('it comes out of the new worker', () => late.seen.has('"late"'))
    })

    await context.test('SIGHUP reads again', async () => {
      const before = said('rules and identities are in force')
      running.child.kill('SIGHUP')
      await until('it is in force', () => said('rules and identities are in force') > before)
    })

    await context.test('another folder in sluice.yaml needs a restart, and says so', async () => {
      await writeFiles(folder, {
        'sluice.yaml': { listen: { http: { port } }, limits: { publishesPerSecond: 100_000 }, rules: './other' },
        'other/none.yaml': 'rules: []\n',
      })
      match(JSON.stringify((await reload()).problems), /restart to apply it/)
      await writeFiles(folder, {
        'sluice.yaml': { listen: { http: { port } }, limits: { publishesPerSecond: 100_000 } },
      })
      deepEqual(await reload(), { problems: [] })
    })

    await context.test(
      'a worker whose file goes keeps its queue, which is named on reload, by check, and at start',
      async () => {
        late.answer(503)
        equal((await post(port, second, 'late', '"kept"')).status, 200)
        await until('it was tried', () => late.requests.some(({ body }) => body === '"kept"'))
        await rm(join(folder, 'workers/late.yaml'))
        await rm(join(folder, 'rules/late.yaml'))
        deepEqual(await reload(), { problems: [] })
        await until('named on reload', () =>
          logLines(running).some(({ worker, msg }) => worker === 'late' && /no file/.test(String(msg))),
        )
        const check = sluice(context, config, ['check'])
        equal(await check.ended(), 0, check.output())
        match(check.output(), /the queue of "late" holds 1 message \(1 envelope\)/)

        await load.stop()
        deepEqual([...load.others], [], 'every request of the load was answered 200')
        ok(load.acknowledged.size > 100)
        await until('and all came out', () => [...load.acknowledged].every((body) => receiver.seen.has(body)))
        equal(await running.stop(), 0, running.output())

        const offline = sluice(context, config, ['check'])
        equal(await offline.ended(), 0, offline.output())
        match(offline.output(), /the queue of "late" holds 1 message \(1 envelope\)/)

        const again = sluice(context, config, ['start'])
        await ready(again)
        ok(
          logLines(again).some(({ worker, msg }) => worker === 'late' && /no file/.test(String(msg))),
          again.output(),
        )
        late.answer(200)
        await writeFiles(folder, { 'workers/late.yaml': { kind: 'http', url: late.url } })
        await until('its file is back, and so is the message', () => late.seen.has('"kept"'), 15_000)
        equal(await again.stop(), 0)
      },
    )
  },
)
