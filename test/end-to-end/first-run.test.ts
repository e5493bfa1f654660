import { deepEqual, equal, match, rejects } from 'node:assert/strict'
import { cp, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test, type TestContext } from 'node:test'
import { freePort, temporaryFolder, until } from '../support/cleanup.ts'
import { DoorClients } from '../support/door-clients.ts'
import { listening, run } from '../support/process.ts'
import { ready, sluice, writeFiles } from '../support/sluice.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** The files that a clone has, on free ports. */
async function freshFolder(context: TestContext) {
  const folder = await temporaryFolder(context)
  for (const name of ['rules', 'workers', 'identity']) {
    // What a first run made here is nobody else's.
    await cp(join(root, name), join(folder, name), {
      recursive: true,
      filter: (source) => !source.endsWith('try-out.yaml'),
    })
  }
  const ports = { http: await freePort(), mqtt: await freePort(), https: await freePort(), mqtts: await freePort() }
  const text = await readFile(join(root, 'sluice.yaml'), 'utf8')
  const config = await writeFiles(folder, {
    'sluice.yaml': text
      .replace('8080', String(ports.http))
      .replace('1883', String(ports.mqtt))
      .replace('8443', String(ports.https))
      .replace('8883', String(ports.mqtts)),
  })
  return { folder, config, ports, ...ports }
}

test('the first start makes an identity, and what it publishes comes out of the workers', async (context) => {
  const { folder, config } = await freshFolder(context)
  const running = sluice(context, config, ['start'], { cwd: folder })
  await ready(running)
  match(running.output(), /npx sluice publish buildings\/b1\/rooms\/7\/climate '\{"celsius":31,"status":"ok"\}'/)

  const tokenFile = join(folder, 'data/try-out.token')
  equal((await stat(tokenFile)).mode & 0o777, 0o600)
  const token = (await readFile(tokenFile, 'utf8')).trim()
  equal(running.output().includes(token), false)

  const published = sluice(
    context,
    config,
    ['publish', 'buildings/b1/rooms/7/climate', '{"celsius":31,"status":"ok"}'],
    { cwd: folder },
  )
  equal(await published.ended(), 0, published.output())
  match(published.output(), /accepted, durable: [0-9a-f-]{36}/)
  match(
    published.output(),
    /alerts \(log\), by rule overheating: delivered \{"building":"b1","room":"7","celsius":31,"at":\d+\}/,
  )
  match(published.output(), /archive \(file\), by rule overheating: delivered/)

  const archived = await until(
    'a line in the archive',
    async () => (await readFile(join(folder, 'data/archive.ndjson'), 'utf8').catch(() => '')) || undefined,
  )
  const { at, ...rest } = JSON.parse(archived) as Record<string, unknown>
  deepEqual([typeof at, rest], ['number', { building: 'b1', room: '7', celsius: 31 }])
  equal(await running.stop(), 0, running.output())

  const again = sluice(context, config, ['start'], { cwd: folder })
  await ready(again)
  equal((await readFile(tokenFile, 'utf8')).trim(), token, 'the identity of the first run stays')
  equal(await again.stop(), 0)
})

test('it is TLS and mutual TLS from the first minute', async (context) => {
  const { folder, config, ports } = await freshFolder(context)
  const running = sluice(context, config, ['start'], { cwd: folder })
  await ready(running)
  const text = (name: string) => readFile(join(folder, 'data/pki', name), 'utf8')
  for (const key of ['ca.key', 'server-ec.key', 'server-rsa.key', 'devices/demo.key'])
    equal((await stat(join(folder, 'data/pki', key))).mode & 0o777, 0o600, key)
  const clients = new DoorClients(context, ports, await text('ca.pem'))
  const demo = { certificate: { pem: await text('devices/demo.pem'), key: await text('devices/demo.key') } }
  equal(await clients.post('https', demo, '/topics/a/b'), 200)
  equal((await clients.connect('mqtts', demo)).result, 'in')
  equal((await clients.connect('wss', demo)).result, 'in')
  equal(await clients.post('https', {}, '/topics/a/b'), 401)
  equal((await clients.connect('mqtts', {})).result, 'code 4')

  const revoked = sluice(context, config, ['pki', 'revoke', 'demo'], { cwd: folder })
  equal(await revoked.ended(), 0, revoked.output())
  await until('it is refused', async () => (await clients.post('https', demo, '/topics/a/b')) === 401, 5_000)
  // Its token on loopback is another credential of the same identity.
  const published = sluice(
    context,
    config,
    ['publish', '--token-file', 'data/try-out.token', '--wait', '0', 'a/b', 'x'],
    {
      cwd: folder,
    },
  )
  equal(await published.ended(), 0, published.output())
})

test('with the broker’s port taken it starts without the broker and says how to bridge what is there', async (context) => {
  const { folder, config, mqtt } = await freshFolder(context)
  const other = run(context, 'mosquitto', ['-p', String(mqtt)])
  await listening(mqtt, other)
  const running = sluice(context, config, ['start'], { cwd: folder })
  await ready(running)
  match(running.output(), /started without the embedded broker/)
  match(running.output(), /mosquitto/)
  match(
    running.output(),
    new RegExp(`bridges:\\n {2}- name: local\\n {4}url: mqtt://127.0.0.1:${mqtt}\\n {4}topics: \\['#'\\]`),
  )
})

test('a second start on the same folder says who holds the queue', async (context) => {
  const { folder, config } = await freshFolder(context)
  const first = sluice(context, config, ['start'], { cwd: folder })
  await ready(first)
  const elsewhere = await writeFiles(folder, { 'second.yaml': 'data: ./data\nlisten: {}\n' }).then(() =>
    join(folder, 'second.yaml'),
  )
  const second = sluice(context, elsewhere, ['start'], { cwd: folder })
  equal(await second.ended(), 1)
  match(second.output(), new RegExp(`held by .*${first.child.pid}`))
})

test('an identity is never made beside those of an issuer', async (context) => {
  const { folder, http } = await freshFolder(context)
  const config = await writeFiles(folder, {
    'sluice.yaml': `listen: { http: { port: ${http} } }\n`,
    'identity/issuers.yaml': { issuers: [{ name: 'company', issuer: 'https://id.example.com', audience: ['sluice'] }] },
  })
  await ready(sluice(context, config, ['start'], { cwd: folder }))
  await rejects(stat(join(folder, 'data/try-out.token')), /ENOENT/)
})

test('an identity is never made where strangers could reach the door', async (context) => {
  const { folder, http } = await freshFolder(context)
  const config = await writeFiles(folder, {
    'sluice.yaml': `listen: { http: { host: 0.0.0.0, port: ${http}, insecure: true } }\n`,
  })
  const running = sluice(context, config, ['start'], { cwd: folder })
  await ready(running)
  equal(
    await stat(join(folder, 'data/try-out.token')).then(
      () => true,
      () => false,
    ),
    false,
  )
})
