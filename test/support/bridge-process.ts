// One ingest of several that have a bridge in common, as a process of its own that a test can kill. Accepts a message by appending its payload to a file.
import { openSync, writeSync } from 'node:fs'
import { createBridge } from '../../src/ingest/mqtt-bridge.ts'
import { uncounted } from '../../src/core/metrics.ts'
import { openRedisQueues } from '../../src/queue/redis.ts'
import { bridgeSettings, quick } from './bridge.ts'
import { linesLog } from './doors.ts'

const [broker = '', redis = '', file = '', form = 'share'] = process.argv.slice(2)
const together = form === 'standby' ? { standby: true } : { share: 'sluice' }
const log = linesLog()
log.lines.push = (...lines) => {
  for (const line of lines) console.log(line)
  return 0
}
const queues = await openRedisQueues({ url: redis, role: 'ingest', log })
const accepted = openSync(file, 'a')
const bridge = createBridge({
  settings: bridgeSettings(broker, { ...together, receiveMaximum: 20 }),
  async accept(_speaker, { payload }) {
    await new Promise((resolve) => setTimeout(resolve, 2 + Math.random() * 8))
    writeSync(accepted, `${payload.toString()}\n`)
    return { kind: 'accepted', id: payload.toString() }
  },
  keepRefused: async () => {},
  principal: { name: 'bridge:plant', method: 'bridge' },
  store: queues.store,
  log,
  metrics: uncounted,
  limits: quick,
})
bridge.ended.catch((error: unknown) => {
  console.log(String(error))
  process.exit(3)
})
process.once('SIGTERM', () => void bridge.stop().then(() => process.exit(0)))
bridge.start()
