import { silent } from '../../src/core/log.ts'
import { openEmbeddedQueues } from '../../src/queue/embedded.ts'
import { testQueues } from '../conformance/queue.ts'
import { temporaryFolder } from '../support/cleanup.ts'

testQueues({
  name: 'the embedded database',
  exclusive: true,
  async prepare(scope) {
    const folder = await temporaryFolder(scope)
    return { open: () => openEmbeddedQueues({ folder, log: silent }), opening: { kind: 'embedded', folder } }
  },
})
