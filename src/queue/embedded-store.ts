import type { Store } from '../core/queue.ts'
import type { Backend } from './backend.ts'
import type { EmbeddedDatabase } from './embedded-database.ts'
import { encodeName } from './names.ts'

/** Our own tables, beside BullMQ's. */
export const storeTables = `
CREATE SCHEMA IF NOT EXISTS sluice;
CREATE TABLE IF NOT EXISTS sluice.owner (owner text PRIMARY KEY);
CREATE TABLE IF NOT EXISTS sluice.store (key text PRIMARY KEY, value text NOT NULL);
CREATE TABLE IF NOT EXISTS sluice.lease (key text PRIMARY KEY, holder text NOT NULL, until_ms bigint NOT NULL)`

/** Keys, values and holders are escaped or JSON: Postgres' `text` takes no U+0000. */
export function createEmbeddedStore(database: EmbeddedDatabase, attempt: Backend['attempt']): Store {
  const run = (text: string, params: readonly unknown[]) => attempt(() => database.query(text, params))
  return {
    async get<Value>(key: string) {
      const { rows } = await run('SELECT value FROM sluice.store WHERE key = $1', [encodeName(key)])
      const row = rows[0] as { readonly value: string } | undefined
      return row === undefined ? undefined : (JSON.parse(row.value) as Value)
    },
    async set(key, value) {
      const text = 'INSERT INTO sluice.store VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value'
      await run(text, [encodeName(key), JSON.stringify(value)])
    },
    async delete(key) {
      await run('DELETE FROM sluice.store WHERE key = $1', [encodeName(key)])
    },
    async lease(key, holder, ms) {
      const text = `
        INSERT INTO sluice.lease AS held VALUES ($1, $2, $3)
        ON CONFLICT (key) DO UPDATE SET holder = excluded.holder, until_ms = excluded.until_ms
        WHERE held.holder = excluded.holder OR held.until_ms <= $4 RETURNING 1`
      const now = Date.now()
      return (await run(text, [encodeName(key), encodeName(holder), now + ms, now])).rows.length > 0
    },
    async release(key, holder) {
      await run('DELETE FROM sluice.lease WHERE key = $1 AND holder = $2', [encodeName(key), encodeName(holder)])
    },
  }
}
