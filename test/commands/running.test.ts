import { deepEqual, equal, match, ok } from 'node:assert/strict'
import { globSync, readFileSync, statSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { before, describe, test } from 'node:test'
import { freePort, type Scope, temporaryFolder, until } from '../support/cleanup.ts'
import { command, type Ran, suiteScope } from '../support/command.ts'
import { type HttpTarget, startHttpTarget } from '../support/http-target.ts'
import { closedLedger } from '../support/ledger.ts'
import type { Running } from '../support/process.ts'
import { openRaw } from '../support/raw-mqtt.ts'
import { allowEverything, principalEntry, ready, sluice, writeFiles } from '../support/sluice.ts'

const token = 'a-token-for-this-test'

// One Sluice for all: what one test does to it must not end it for those after.
describe('commands that speak to a running Sluice', () => {
  const scope = suiteScope()
  let [folder, http, mqtt] = ['', 0, 0]
  let running: Running
  let hook: HttpTarget
  /** Every payload that was acknowledged for topics below `raw/`. */
  const acknowledged: string[] = []

  before(async () => {
    ;[folder, http, mqtt, hook] = [
      await temporaryFolder(scope),
      await freePort(),
      await freePort(),
      await startHttpTarget(scope),
    ]
    await writeFiles(folder, {
      'sluice.yaml': { listen: { http: { port: http }, mqtt: { port: mqtt } } },
      'identity/all.yaml': {
        principals: [principalEntry('all', token, { policies: ['all'] }), principalEntry('nothing', 'nothing')],
        policies: { all: allowEverything },
      },
      'rules/raw.yaml': 'from: raw/#\nto: [{ worker: hook }]\n',
      'workers/hook.yaml': { kind: 'http', url: hook.url },
      'all.token': `${token}\n`,
      'nothing.token': 'nothing',
      'wrong.token': 'not-a-token',
    })
    running = sluice(scope, join(folder, 'sluice.yaml'), ['start'], { cwd: folder })
    await ready(running)
  })

  async function ask(context: Scope, line: string, input?: string | Buffer): Promise<Ran> {
    const ran = await command(context, folder, line.split(' '), input === undefined ? {} : { input })
    equal(`${ran.stdout}${ran.stderr}`.includes('\u001B'), false, 'no colours in a pipe')
    return ran
  }
  const publish = (context: Scope, line: string, input?: string | Buffer) => ask(context, `publish ${line}`, input)

  test('status and health', async (context) => {
    const status = await ask(context, 'status')
    equal(status.code, 0, status.stderr)
    match(status.stdout, /^ready\nqueue {4}embedded queue in .*/)
    match(status.stdout, new RegExp(`^door {5}http://127.0.0.1:${http}\\ndoor {5}mqtt://127.0.0.1:${mqtt}$`, 'm'))
    match(status.stdout, /^worker {2}waiting {2}.*\nhook {4}0 {8}.* running\n$/m)
    const json = JSON.parse((await ask(context, 'status --json')).stdout) as {
      ready: boolean
      workers: { name: string; waiting: number; envelopes: unknown }[]
    }
    deepEqual([json.ready, json.workers.length], [true, 1])
    deepEqual(json.workers[0]?.envelopes, { waiting: 0, active: 0, delayed: 0 })
    deepEqual(await ask(context, 'health'), { code: 0, stdout: 'ready\n', stderr: '' })
  })

  test('bytes that are no JSON leave as they came', async (context) => {
    const payload = Buffer.from([0, 255, 10, 128, 123])
    const ran = await publish(context, 'raw/bytes --token-file all.token', payload)
    equal(ran.code, 0, ran.stderr)
    match(ran.stdout, /^accepted, durable: [0-9a-f-]{36}\n {2}hook \(http\), by rule raw: delivered/)
    acknowledged.push(payload.toString('latin1'))
    deepEqual(hook.received.at(-1)?.body, payload)
  })

  test('no JSON as text, with an id of one’s own, as one JSON document', async (context) => {
    const ran = await publish(context, 'raw/text {"broken": --token-file all.token --id mine --json')
    const { traceId, deliveries } = JSON.parse(ran.stdout) as {
      traceId: string
      deliveries: { worker: string; rule: string; outcome: string }[]
    }
    deepEqual([ran.code, deliveries.length], [0, 1])
    match(traceId, /^[\da-f]{8}-[\da-f]{4}-7/)
    match(String(hook.received.at(-1)?.headers['idempotency-key']), /^[^/]+\/mine:raw:0$/)
    deepEqual([deliveries[0]?.worker, deliveries[0]?.rule, deliveries[0]?.outcome], ['hook', 'raw', 'delivered'])
    acknowledged.push('{"broken":')
    equal(hook.received.at(-1)?.body.toString(), '{"broken":')
  })

  test('what is refused says why in one line', async (context) => {
    for (const [line, says] of [
      ['raw/1 x --token-file wrong.token', /^sluice: the door answered 401: [^\n]+\n$/],
      ['raw/1 x --token-file nothing.token', /^sluice: the door answered 403: [^\n]+\n$/],
      ['raw/+ x --token-file all.token', /^sluice: the door answered 400: the topic contains a wildcard[^\n]*\n$/],
    ] as const) {
      const ran = await publish(context, line)
      match(ran.stderr, says)
      deepEqual([ran.code, ran.stdout, /not-a-token/.test(ran.stderr)], [1, '', false])
    }
    const large = await publish(context, 'raw/1 --token-file all.token', Buffer.alloc(128 * 1024 + 1))
    match(large.stderr, /^sluice: the door answered 413: [^\n]*131072[^\n]*\n$/)
  })

  test('a topic that no rule takes is acknowledged, and said to have gone nowhere', async (context) => {
    const ran = await publish(context, 'nobody/cares x --token-file all.token --wait 0.2')
    equal(ran.code, 0)
    match(ran.stdout, /^accepted, durable: .*\nno worker here has answered for it within 0.2 s: no rule took it/)
  })

  test('malformed packets end their own connection and nothing else', async (context) => {
    const polite = openRaw(context, mqtt)
    polite.send({
      cmd: 'connect',
      clientId: 'polite',
      username: 'all',
      password: Buffer.from(token),
      protocolVersion: 4,
    })
    await until('it is in', () => polite.got.length === 1)
    for (const bytes of [
      Buffer.from(`GET / HTTP/1.1\r\nHost: ${'x'.repeat(80)}\r\n\r\n`),
      Buffer.alloc(64, 0xff),
      Buffer.from([0x10, 0x00]),
    ]) {
      const rude = openRaw(context, mqtt)
      rude.send(bytes)
      await until('it is out', () => rude.closed())
    }
    polite.publish('raw/polite', 1, 7, { payload: 'polite' })
    await until('an acknowledgement', () => polite.ids('puback').includes(7))
    acknowledged.push('polite')
  })

  test('files with problems change nothing that runs, and don’t keep one from operating it', async (context) => {
    await writeFiles(folder, { 'rules/broken.yaml': 'from: a/#/b\nto: [{ worker: hook }]\n', 'rules/raw.yaml': '[' })
    const reload = await ask(context, 'reload')
    equal(reload.code, 1)
    match(reload.stderr, /rules\/broken\.yaml:1:7: from: "#" must be the whole last level/)
    match(reload.stderr, /rules\/raw\.yaml:1:2: not valid YAML/)
    match(reload.stderr, /\n2 problems\nnothing was changed: the running configuration goes on\n$/)
    equal((await ask(context, 'status')).code, 0)
    const ran = await publish(context, 'raw/meanwhile meanwhile --token-file all.token')
    match(ran.stdout, /hook \(http\), by rule raw: delivered/)
    acknowledged.push('meanwhile')
    await until('the log says so too', () =>
      /the changed configuration has problems; the running one goes on/.test(running.output()),
    )

    await writeFiles(folder, { 'rules/raw.yaml': 'from: raw/#\nto: [{ worker: hook }]\n' })
    await rm(join(folder, 'rules/broken.yaml'))
    deepEqual(await ask(context, 'reload'), { code: 0, stdout: 'reloaded\n', stderr: '' })
  })

  test('a new identity may publish within seconds, and its token is in no file', async (context) => {
    const made = await ask(context, 'identity new d-17 --thing d-17 --policy all')
    equal(made.code, 0, made.stderr)
    match(made.stdout, /^identity\/d-17\.yaml holds the principal d-17\. Its token, shown this once:\n\n {2}slc_/)
    equal(/no policy/.test(made.stdout), false)
    const its = /slc_[\w-]+/.exec(made.stdout)?.[0] ?? ''
    for (const file of globSync(`${folder}/**`).filter((path) => statSync(path).isFile()))
      equal(readFileSync(file).includes(its), false, file)
    equal(running.output().includes(its), false)

    await until('it may publish', async () => {
      const answer = await fetch(`http://127.0.0.1:${http}/topics/raw/d-17`, {
        method: 'POST',
        headers: { authorization: `Bearer ${its}` },
        body: 'from d-17',
      })
      return answer.status === 200
    })
    acknowledged.push('from d-17')

    const again = await ask(context, 'identity new d-17')
    match(again.stderr, /^sluice: there is a principal "d-17" already; choose another name/)
    equal(again.code, 2)
    const bare = await ask(context, 'identity new bare')
    match(bare.stdout, /It has no policy yet, so it may do nothing: add "policies: \[…\]" in identity\/bare\.yaml\./)
  })

  test('a second one on the same port says which port and who has it, and harms nobody', async (context) => {
    const elsewhere = await temporaryFolder(context)
    for (const [name, port, listen] of [
      ['http', http, { http: { port: http } }],
      ['mqtt', mqtt, { mqtt: { port: mqtt } }],
    ] as const) {
      await writeFiles(elsewhere, { 'sluice.yaml': { listen } })
      const ran = await command(context, elsewhere, ['ingest'])
      equal(ran.code, 1)
      const pid = running.child.pid
      match(
        ran.stderr,
        new RegExp(
          `^sluice: listen.${name}: 127.0.0.1:${port} is taken: port ${port} is taken by .*\\(process ${pid}\\)`,
        ),
      )
    }
    equal((await ask(context, 'health')).code, 0)
  })

  test('a dead letter is listed, shown, put back, and thrown away', async (context) => {
    hook.answer = () => ({ status: 422, body: 'not like that' })
    const ran = await publish(context, 'raw/refused refused --token-file all.token')
    match(ran.stdout, /hook \(http\), by rule raw: rejected .*422/)
    await publish(context, 'raw/purged purged --token-file all.token')
    type Letters = { letters: { id: string; topic: string; kind: string }[] }
    const list = async () => (JSON.parse((await ask(context, 'dead-letters ls --json')).stdout) as Letters).letters
    const letters = await until('two of them', async () => {
      const found = await list()
      return found.length === 2 && found
    })
    deepEqual(
      letters.map(({ topic, kind }) => [topic, kind]),
      [
        ['raw/refused', 'rejected'],
        ['raw/purged', 'rejected'],
      ],
    )
    const [refused, purged] = letters
    ok(refused !== undefined && purged !== undefined)
    const table = await ask(context, 'dead-letters ls --worker hook')
    match(table.stdout, /^id +owner +rule +kind +given up +topic +reason\n.*raw\/refused.*422/)
    match((await ask(context, `dead-letters show ${refused.id}`)).stdout, /"text": "refused"/)
    equal((await ask(context, 'dead-letters show nothing')).code, 2)

    equal((await ask(context, `dead-letters purge ${purged.id}`)).code, 0)
    hook.answer = () => ({ status: 200 })
    equal((await ask(context, `dead-letters replay ${refused.id}`)).code, 0)
    acknowledged.push('refused')
    await until(
      'it is delivered',
      () => hook.received.filter(({ url, body }) => url === '/' && body.toString() === 'refused').length === 2,
    )
    equal((await ask(context, 'dead-letters ls')).stdout, 'no dead letters\n')

    const ledger = await ask(context, 'ledger')
    equal(ledger.code, 0, ledger.stdout)
    match(ledger.stdout, /^rule +worker +accepted +delivered +.*difference\nraw +hook +\d+ +.* 0\n/)
    match(ledger.stdout, /every message is accounted for\n$/)
    const [row] = await closedLedger(context, folder)
    deepEqual([row?.replayed, row?.deadReplayed, row?.purged, row?.dead], [1, 1, 1, 0])
  })

  test('SIGTERM: it ends with 0, and nothing that was acknowledged is missing', async () => {
    equal(await running.stop(), 0, running.output())
    const seen = new Set(hook.received.map(({ body }) => body.toString('latin1')))
    deepEqual(
      acknowledged.filter((payload) => !seen.has(payload)),
      [],
    )
  })
})
