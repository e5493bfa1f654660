import { messageOf } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import type { EmbeddedDatabase } from './embedded-database.ts'

/** How often it looks; and how often at most it waits for a quiet moment, for a queue that is never quiet needs it most. */
const everyMs = 60_000
const maxPostponed = 3
/** Statements that are worth it. */
const worthIt = 200

/** Nobody reads BullMQ's events; jobs and meta leave a dead row at each step. VACUUM stands alone in a statement. */
const chores = [
  'TRUNCATE bullmq.event',
  ...[
    'bullmq.job',
    'bullmq.meta',
    'sluice.lease',
    'sluice.ledger_entry',
    'sluice.ledger_leaving',
    'sluice.ledger_total',
  ].map((table) => `VACUUM ${table}`),
]

/** Does what autovacuum would do; PGlite has none (feasibility-queue, change 13). Gives what stops it. */
export function startHousekeeping(database: EmbeddedDatabase, log: Log): () => void {
  let seen = database.statements
  let postponed = 0
  const timer = setInterval(() => {
    if (database.statements - seen < worthIt) return
    if (database.busy && postponed++ < maxPostponed) return
    postponed = 0
    void tidy(database).then(
      () => (seen = database.statements),
      (error: unknown) => log.warn({ error: messageOf(error) }, 'tidying up the embedded queue failed'),
    )
  }, everyMs)
  timer.unref()
  return () => clearInterval(timer)
}

/** One round of it. */
export async function tidy(database: EmbeddedDatabase): Promise<void> {
  for (const chore of chores) await database.query(chore)
}
