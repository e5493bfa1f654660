import { silent } from '../../src/core/log.ts'
import { openEmbeddedQueues } from '../../src/queue/embedded.ts'

/** A process that adds jobs to the embedded queue until it is killed, and says each id when its add has resolved: `node queue-adder.ts <folder> <owner>`. */
const [folder = '', owner = ''] = process.argv.slice(2)
const queues = await openEmbeddedQueues({ folder, log: silent })
for (let count = 0; ; count += 1) {
  const ids = [`a-${count}`, `b-${count}`]
  await queues.add(
    { owner, part: 'work' },
    ids.map((id) => ({ id, data: 'x'.repeat(2_000) })),
  )
  console.log(ids.join('\n'))
}
