import type { Command } from 'commander'
import { addCertificates } from './certificates.ts'
import { addCheck } from './check.ts'
import { addDeadLetters } from './dead-letters.ts'
import { addEval } from './eval.ts'
import { addExplain } from './explain.ts'
import { addHealth } from './health.ts'
import { addIdentity } from './identity.ts'
import { addLedger } from './ledger.ts'
import { addPassword } from './password.ts'
import { addPki } from './pki.ts'
import { addPolicy } from './policy.ts'
import { addPublish } from './publish.ts'
import { addReload } from './reload.ts'
import { addRun } from './run.ts'
import { addStatus } from './status.ts'
import { addTest } from './test.ts'

/** Every command, in the order of `sluice --help`. A new one is its file and one line here. */
export const commands: readonly ((program: Command) => void)[] = [
  addRun,
  addCheck,
  addTest,
  addEval,
  addExplain,
  addPublish,
  addDeadLetters,
  addLedger,
  addIdentity,
  addPolicy,
  addPassword,
  addPki,
  addCertificates,
  addStatus,
  addHealth,
  addReload,
]
