import { deepEqual, equal, match } from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import { test } from 'node:test'
import { createHttpDoor } from '../../src/ingest/http.ts'
import type { HttpLimits } from '../../src/ingest/http-limits.ts'
import { type Scope, until } from '../support/cleanup.ts'
import { countedMetrics, fakeAccept, fakeAccess, linesLog } from '../support/doors.ts'

/** A door that never listens itself: another one hands it connections, as the TLS front does. */
async function open(scope: Scope, limits: Partial<HttpLimits> = {}) {
  const access = fakeAccess()
  const sink = fakeAccept()
  const common = {
    access: () => access,
    accept: sink.accept,
    acceptBatch: sink.acceptBatch,
    ready: () => true,
    log: linesLog(),
  }
  const door = createHttpDoor({ ...common, metrics: countedMetrics(), limits })
  await door.ready()
  const tls = { serverName: 'iot.example.com' }
  const server = createServer((socket) => door.handle(socket, { sourceIp: '203.0.113.9', tls }))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  scope.after(() => server.close())
  return { door, sink, port: (server.address() as AddressInfo).port }
}

const post = 'POST /topics/a HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer d-1-secret\r\nContent-Length: 1\r\n\r\nx'

test('a connection that is handed in is served, with what the other door knows of it', async (t) => {
  const { door, sink, port } = await open(t)
  const socket = connect(port, '127.0.0.1')
  t.after(() => socket.destroy())
  let got = ''
  socket.setEncoding('utf8').on('data', (text: string) => (got += text))
  socket.write(post)
  await until('an answer', () => got.includes('traceId'))
  match(got, /^HTTP\/1\.1 200 /)
  const [taken] = sink.taken
  deepEqual([taken?.speaker.sourceIp, taken?.speaker.serverName], ['203.0.113.9', 'iot.example.com'])
  const closed = once(socket, 'close')
  await door.close(500)
  await closed
})

test('its deadlines hold there too', async (t) => {
  const { door, port } = await open(t, { headersMs: 200, requestMs: 400 })
  t.after(() => door.close(100))
  const socket = connect(port, '127.0.0.1')
  t.after(() => socket.destroy())
  let got = ''
  socket.setEncoding('utf8').on('data', (text: string) => (got += text))
  socket.write('POST /topics/a HTTP/1.1\r\nHost: x\r\n')
  await until('it is cut', () => socket.destroyed || got !== '', 5_000)
  equal(got === '' || got.startsWith('HTTP/1.1 408'), true, got)
})
