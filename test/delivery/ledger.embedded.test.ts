import { silent } from '../../src/core/log.ts'
import { openEmbeddedQueues } from '../../src/queue/embedded.ts'
import { testLedger } from '../conformance/ledger.ts'
import { temporaryFolder } from '../support/cleanup.ts'

testLedger({
  name: 'the embedded queue',
  async prepare(scope) {
    const folder = await temporaryFolder(scope)
    return { open: () => openEmbeddedQueues({ folder, log: silent }) }
  },
})
