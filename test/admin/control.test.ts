import { deepEqual, equal, match, rejects } from 'node:assert/strict'
import { stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { callControl } from '../../src/admin/client.ts'
import { type ControlPlane, openControl } from '../../src/admin/control.ts'
import { SluiceError } from '../../src/core/errors.ts'
import { type Log, silent } from '../../src/core/log.ts'
import { temporaryFolder } from '../support/cleanup.ts'

function plane(part: Partial<ControlPlane> = {}): ControlPlane {
  return {
    ready: async () => ({ ready: true }),
    status: async () => ({ queue: 'here' }),
    orphans: async () => [],
    ledger: async () => ({ closed: true }),
    metrics: async () => ({ contentType: 'text/plain; version=0.0.4', page: 'up 1\n' }),
    reload: async () => ({ problems: [] }),
    trace: async (id, waitMs) => [{ id, waitMs }],
    policy: { simulate: async () => ({}), effective: async () => [] },
    certificates: { list: async () => [], show: async () => ({}), act: async () => ({}) },
    deadLetters: {
      list: async (query) => query,
      show: async (id) => {
        throw new SluiceError('WRONG_USE', `there is no dead letter ${id}`)
      },
      replay: async () => ({ replayed: 2 }),
      purge: async () => ({ purged: 1 }),
    },
    ...part,
  }
}

async function open(context: TestContext, part: Partial<ControlPlane> = {}, log: Log = silent): Promise<string> {
  const socket = join(await temporaryFolder(context), 'control.sock')
  const control = await openControl(socket, plane(part), log)
  context.after(() => control.close())
  return socket
}

describe('the control channel', () => {
  test('is a socket that only its owner can use', async (context) => {
    const stats = await stat(await open(context))
    equal(stats.isSocket(), true)
    equal(stats.mode & 0o777, 0o600)
  })

  test('serves health, readiness with its reason, metrics and status', async (context) => {
    const socket = await open(context, { ready: async () => ({ ready: false, because: 'redis is away' }) })
    deepEqual(await callControl(socket, 'GET', '/healthz'), { status: 200, body: { status: 'ok' } })
    deepEqual(await callControl(socket, 'GET', '/readyz'), {
      status: 503,
      body: { ready: false, because: 'redis is away' },
    })
    deepEqual(await callControl(socket, 'GET', '/metrics'), { status: 200, body: 'up 1\n' })
    deepEqual(await callControl(socket, 'GET', '/status'), { status: 200, body: { queue: 'here' } })
    deepEqual(await callControl(socket, 'GET', '/trace/x?waitMs=250'), {
      status: 200,
      body: [{ id: 'x', waitMs: 250 }],
    })
  })

  test('passes filters on and bounds them', async (context) => {
    const socket = await open(context)
    const { body } = await callControl(socket, 'GET', '/dead-letters?worker=alerts&limit=5&nonsense=1')
    deepEqual(body, { worker: 'alerts', limit: 5 })
    equal((await callControl(socket, 'GET', '/dead-letters?limit=-1')).status, 400)
  })

  test('an error a user can cause is its message, and no stack', async (context) => {
    const socket = await open(context)
    deepEqual(await callControl(socket, 'GET', '/dead-letters/nope'), {
      status: 400,
      body: { message: 'there is no dead letter nope' },
    })
  })

  test('each act of an operator is one audit line', async (context) => {
    const lines: unknown[] = []
    const log: Log = { ...silent, info: (facts, message) => void lines.push([message, facts]) }
    const socket = await open(context, {}, log)
    await callControl(socket, 'POST', '/dead-letters/replay', { worker: 'alerts' })
    await callControl(socket, 'GET', '/dead-letters')
    deepEqual(lines, [['audit', { act: 'dead-letters replay', query: { worker: 'alerts' }, result: { replayed: 2 } }]])
  })

  test('a second one on the same socket is refused, and the first goes on', async (context) => {
    const socket = await open(context)
    await rejects(openControl(socket, plane(), silent), /another Sluice serves .*control\.sock/)
    equal((await callControl(socket, 'GET', '/healthz')).status, 200)
  })

  test('a file in the way is left alone', async (context) => {
    const path = join(await temporaryFolder(context), 'control.sock')
    await writeFile(path, 'mine')
    await rejects(openControl(path, plane(), silent), /is in the way of the control socket/)
  })

  test('a path that is too long for a socket is said', async () => {
    await rejects(openControl(`/tmp/${'x'.repeat(120)}/control.sock`, plane(), silent), /too long for a Unix socket/)
  })

  test('takes a publisher’s own id at its longest, whatever it consists of', async (context) => {
    const socket = await open(context)
    const id = '%'.repeat(128)
    deepEqual((await callControl(socket, 'GET', `/trace/${encodeURIComponent(id)}`)).body, [{ id, waitMs: 0 }])
  })

  test('a call that hangs does not hold up the close, and a caller may give up', async (context) => {
    const path = join(await temporaryFolder(context), 'control.sock')
    const asked = Promise.withResolvers<void>()
    const status = () => (asked.resolve(), new Promise(() => {}))
    const control = await openControl(path, plane({ status }), silent)
    const call = callControl(path, 'GET', '/status').catch((error: unknown) => error)
    await asked.promise
    await rejects(
      callControl(path, 'GET', '/status', undefined, { signal: AbortSignal.timeout(50) }),
      /aborted|timeout/i,
    )
    await control.close(50)
    match(String(await call), /socket hang up|ECONNRESET/)
    equal(await stat(path).catch(() => 'gone'), 'gone')
  })

  test('with nobody there, a command says what to do', async (context) => {
    const path = join(await temporaryFolder(context), 'control.sock')
    const error = await callControl(path, 'GET', '/status').catch((thrown: unknown) => thrown)
    match(String(error), /no running Sluice answers at .*; start one with "sluice start"/)
  })
})
