import { equal, match } from 'node:assert/strict'
import { createServer } from 'node:net'
import { test } from 'node:test'
import { describeBusyPort } from '../../src/ingest/busy-port.ts'
import { freePort } from '../support/cleanup.ts'
import { startMosquitto } from '../support/mosquitto.ts'

test('names the program that has the port, and that it is an MQTT broker', async (t) => {
  const { port, child } = await startMosquitto(t)
  const text = await describeBusyPort(port)
  match(text, new RegExp(`^port ${port} is taken by .*, and an MQTT broker answers there$`))
  // Where /proc lets us see it.
  if (process.platform === 'linux' && process.getuid?.() === 0)
    match(text, new RegExp(`mosquitto \\(process ${child.pid}\\)`))
})

test('says no more than it knows', async (t) => {
  const server = createServer((socket) => void socket.end('SSH-2.0\r\n'))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => server.close())
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  match(await describeBusyPort(port), /^port \d+ is taken by [^,]*$/)
  const free = await freePort()
  equal(await describeBusyPort(free), `port ${free} is taken by another program`)
})
