import { equal, rejects } from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { silent } from '../../src/core/log.ts'
import { openRedisQueues } from '../../src/queue/redis.ts'
import { openMaker } from '../identity/x509-makers.ts'
import { freePort, temporaryFolder } from '../support/cleanup.ts'
import { listening, run } from '../support/process.ts'
import { startSentinel } from '../support/redis.ts'

test('over TLS the server’s certificate is checked against the authority and the name', async (context) => {
  const folder = await temporaryFolder(context)
  const maker = await openMaker(context)
  const authority = maker.authority('/CN=Redis CA')
  const server = authority.issue({ subject: '/CN=x', extensions: ['subjectAltName=DNS:redis.internal'] })
  for (const [name, text] of [
    ['ca.pem', authority.pem],
    ['server.pem', server.pem],
    ['server.key', server.key],
  ] as const)
    await writeFile(join(folder, name), text)
  const port = await freePort()
  const files = ['--tls-ca-cert-file', 'ca.pem', '--tls-cert-file', 'server.pem', '--tls-key-file', 'server.key']
  const tls = ['--port', '0', '--tls-port', String(port), '--tls-auth-clients', 'no', ...files]
  const safety = ['--save', '', '--appendonly', 'yes', '--maxmemory-policy', 'noeviction', '--bind', '127.0.0.1']
  await listening(port, run(context, 'redis-server', [...tls, ...safety, '--dir', folder], { cwd: folder }))

  const open = async (url: string, options: object) => {
    const queues = await openRedisQueues({ url, tls: options, role: 'ingest', log: silent, timeoutMs: 1_000 })
    context.after(() => queues.close())
    return queues
  }
  const [ca, url] = [authority.pem, `rediss://127.0.0.1:${port}`]
  const right = await open(url, { ca, servername: 'redis.internal' })
  await right.ping()
  await right.store.set('a', 1)
  equal(await right.store.get('a'), 1)
  const other = maker.authority('/CN=Redis CA')
  for (const wrong of [
    { ca, servername: 'other.internal' },
    { ca },
    { ca: other.pem, servername: 'redis.internal' },
    {},
  ])
    await rejects((await open(url, wrong)).ping(), { code: 'QUEUE_AWAY' })
})

test('over TLS sentinels and the Redis that they name are checked alike', async (context) => {
  const folder = await temporaryFolder(context)
  const maker = await openMaker(context)
  const authority = maker.authority('/CN=Redis CA')
  const issued = authority.issue({ subject: '/CN=x', extensions: ['subjectAltName=IP:127.0.0.1'] })
  const pem = { ca: authority.pem, cert: issued.pem, key: issued.key }
  const file = (name: string) => join(folder, `${name}.pem`)
  for (const [name, text] of Object.entries(pem)) await writeFile(file(name), text)
  const files = { 'tls-ca-cert-file': file('ca'), 'tls-cert-file': file('cert'), 'tls-key-file': file('key') }
  const settings = { ...files, 'tls-auth-clients': 'no', 'tls-replication': 'yes' }
  const port = await freePort()
  const server = { port: '0', 'tls-port': String(port), save: '', appendonly: 'yes', 'maxmemory-policy': 'noeviction' }
  const parameters = Object.entries({ ...server, bind: '127.0.0.1', dir: folder, ...settings })
  const flags = parameters.flatMap(([name, value]) => [`--${name}`, value])
  await listening(port, run(context, 'redis-server', flags))
  const lines = Object.entries(settings).map((line) => line.join(' '))
  const sentinel = await startSentinel(context, { name: 'plant', primary: port, lines, secure: true })

  const open = async (ca: string) => {
    const url = `rediss+sentinel://127.0.0.1:${sentinel.port}/plant`
    const queues = await openRedisQueues({ url, tls: { ca }, role: 'ingest', log: silent, timeoutMs: 1_000 })
    context.after(() => queues.close())
    return queues
  }
  const right = await open(authority.pem)
  await right.store.set('a', 1)
  equal(await right.store.get('a'), 1)
  await rejects((await open(maker.authority('/CN=Redis CA').pem)).ping(), { code: 'QUEUE_AWAY' })
})
