import { deepEqual, equal } from 'node:assert/strict'
import { createServer, type RequestListener } from 'node:http'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import type { Trace } from '../../src/app/tracer.ts'
import { firstOrAll, WorkerSockets } from '../../src/app/worker-sockets.ts'
import { temporaryFolder, until } from '../support/cleanup.ts'

const trace: Trace = { id: 'm', at: 1, worker: 'w', kind: 'log', rule: 'r', outcome: 'delivered', preview: '{}' }

/** Real sockets, behind which stands what a worker's process may say. */
async function sockets(context: TestContext, answers: Readonly<Record<string, RequestListener>>) {
  const folder = await temporaryFolder(context)
  for (const [name, answer] of Object.entries(answers)) {
    const server = createServer(answer).listen(join(folder, `worker-${name}.sock`))
    await until('it listens', () => server.listening)
    context.after(() => (server.closeAllConnections(), server.close()))
  }
  return new WorkerSockets(folder, () => [...Object.keys(answers), 'absent'])
}

const json =
  (value: unknown): RequestListener =>
  (_request, response) =>
    void response.setHeader('content-type', 'application/json').end(JSON.stringify(value))
const hanging: RequestListener = () => {}
const broken: RequestListener = (_request, response) => {
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': '100' }).write('{"a"')
  response.destroy()
}
const endless: RequestListener = (_request, response) => {
  response.setHeader('content-type', 'application/json')
  const more = (): void =>
    void (response.write(Buffer.alloc(65_536, 32)) ? setImmediate(more) : response.once('drain', more))
  response.on('error', () => {})
  more()
}

test('those who answer are heard; those who hang, break off, never end or talk nonsense are left out', async (context) => {
  const some = await sockets(context, {
    w: json({ w: { state: 'blocked', reason: 'the key is wrong' }, other: 5, nothing: null }),
    hanging,
    broken,
    endless,
    nonsense: json([1, null, { id: 'm' }]),
  })
  deepEqual([...(await some.states())], [['w', { state: 'blocked', reason: 'the key is wrong' }]])
  const { signal } = new AbortController()
  deepEqual(await Promise.all(some.traces('m', 0, signal)), [[], [], [], [], [], []])
})

test('with time to wait the first that knows something is enough; without, all are asked', async (context) => {
  const some = await sockets(context, { w: json([trace]), other: json([{ ...trace, worker: 'other' }]), hanging })
  const ask = (waitMs: number) => firstOrAll(waitMs, (signal) => some.traces('m', waitMs, signal))
  equal((await ask(60_000)).length, 1)
  deepEqual(
    (await ask(0)).map(({ worker }) => worker),
    ['w', 'other'],
  )
})
