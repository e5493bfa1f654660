import { Queue } from 'bullmq'
import { newId } from '../../src/core/id.ts'

const envelopeMessages = 256
const envelopesPerCall = 4

/** An entry of an envelope as the benchmarks have them. */
export function benchEntry() {
  return {
    id: newId(),
    at: Date.now(),
    rule: 'bench',
    action: 0,
    topic: 'devices/d-1/climate',
    qos: 1,
    principal: 'bridge:bench',
    thing: 'd-1',
    in: `{"seq":1,"at":1,"celsius":21.5,"status":"ok","note":"${'x'.repeat(40)}"}`,
    with: { topic: 'routed/d-1' },
    attempts: 0,
  }
}

/** Messages a second that Redis takes in full envelopes, two calls in flight, with nothing else going on. */
export async function measureAddBulk(port: number, calls: number): Promise<number> {
  const queue = new Queue('ceiling', { connection: { host: '127.0.0.1', port }, prefix: '{bench}' })
  const data = { v: 1, set: 'bench', entries: Array.from({ length: envelopeMessages }, benchEntry) }
  const call = () =>
    queue.addBulk(
      Array.from({ length: envelopesPerCall }, () => ({
        name: 'envelope',
        data,
        opts: { jobId: newId(), removeOnComplete: true },
      })),
    )
  await call()
  const start = performance.now()
  let left = calls
  const lane = async () => {
    while (left-- > 0) await call()
  }
  await Promise.all([lane(), lane()])
  const seconds = (performance.now() - start) / 1000
  await queue.obliterate({ force: true })
  await queue.close()
  return (calls * envelopesPerCall * envelopeMessages) / seconds
}
