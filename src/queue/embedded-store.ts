import type { Change, Store, Table } from '../core/queue.ts'
import type { Backend } from './backend.ts'
import type { EmbeddedDatabase } from './embedded-database.ts'
import { decodeName, encodeName } from './names.ts'

/** Our own tables, beside BullMQ's. */
export const storeTables = `
CREATE SCHEMA IF NOT EXISTS sluice;
CREATE TABLE IF NOT EXISTS sluice.owner (owner text PRIMARY KEY);
CREATE TABLE IF NOT EXISTS sluice.store (key text PRIMARY KEY, value text NOT NULL);
CREATE TABLE IF NOT EXISTS sluice.memo (queue text PRIMARY KEY, text text NOT NULL);
CREATE TABLE IF NOT EXISTS sluice.lease (key text PRIMARY KEY, holder text NOT NULL, until_ms bigint NOT NULL);
CREATE INDEX IF NOT EXISTS lease_until ON sluice.lease (until_ms);
CREATE TABLE IF NOT EXISTS sluice.table_version (name text PRIMARY KEY, version bigint NOT NULL);
CREATE TABLE IF NOT EXISTS sluice.record (
  name text NOT NULL, key text NOT NULL, version bigint NOT NULL, value text, PRIMARY KEY (name, key));
CREATE UNIQUE INDEX IF NOT EXISTS record_version ON sluice.record (name, version)`

/**
 * Writes a record with the table's next version, if it has the version that is wanted; a record that was taken away (value null)
 * counts as one of version 0. One statement, and there is one session, so nothing comes between.
 */
const putRecord = `
WITH wanted AS (
  SELECT 1 WHERE $4::bigint IS NULL OR $4 = coalesce(
    (SELECT version FROM sluice.record WHERE name = $1 AND key = $2 AND value IS NOT NULL), 0)
), next AS (
  INSERT INTO sluice.table_version AS last SELECT $1, 1 FROM wanted
  ON CONFLICT (name) DO UPDATE SET version = last.version + 1 RETURNING version
)
INSERT INTO sluice.record SELECT $1, $2, version, $3 FROM next
ON CONFLICT (name, key) DO UPDATE SET version = excluded.version, value = excluded.value RETURNING version`

/** Writes the same row again; no key of a store has a space. */
export const writeProof = `
INSERT INTO sluice.store VALUES (' proof', '1') ON CONFLICT (key) DO UPDATE SET value = excluded.value`

/**
 * Leases that were taken between two sweeps of those that have run out: proofs that are good only once are leases that nobody
 * renews or gives back.
 */
const leasesPerSweep = 1_000

/** Keys, values and holders are escaped or JSON: Postgres' `text` takes no U+0000. */
export function createEmbeddedStore(database: Pick<EmbeddedDatabase, 'query'>, attempt: Backend['attempt']): Store {
  const run = (text: string, params: readonly unknown[]) => attempt(() => database.query(text, params))
  let leases = 0
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
        ON CONFLICT (key) DO UPDATE SET until_ms = excluded.until_ms,
          holder = CASE WHEN held.until_ms <= $4 THEN excluded.holder ELSE held.holder END
        WHERE held.holder = excluded.holder OR held.until_ms <= $4 OR held.until_ms > excluded.until_ms RETURNING holder`
      const now = Date.now()
      if ((leases += 1) % leasesPerSweep === 0) await run('DELETE FROM sluice.lease WHERE until_ms <= $1', [now])
      // One that would last longer than it is asked for was taken before the clock went back: it lasts that long from now.
      const { rows } = await run(text, [encodeName(key), encodeName(holder), now + ms, now])
      return (rows[0] as { readonly holder: string } | undefined)?.holder === encodeName(holder)
    },
    async release(key, holder) {
      await run('DELETE FROM sluice.lease WHERE key = $1 AND holder = $2', [encodeName(key), encodeName(holder)])
    },
    table: openTable,
    // What was acknowledged is on the disk, and nobody else writes there: it never goes back.
    onReturn() {},
  }

  function openTable(name: string): Table {
    const encoded = encodeName(name)
    return {
      async put(key, value, ifVersion) {
        const text = value === undefined ? null : JSON.stringify(value)
        const { rows } = await run(putRecord, [encoded, encodeName(key), text, ifVersion ?? null])
        const row = rows[0] as { readonly version: unknown } | undefined
        return row === undefined ? undefined : Number(row.version)
      },
      async since<Value>(version: number, limit = 1000): Promise<readonly Change<Value>[]> {
        const text =
          'SELECT key, version, value FROM sluice.record WHERE name = $1 AND version > $2 ORDER BY version LIMIT $3'
        const { rows } = await run(text, [encoded, version, limit])
        return (rows as readonly RecordRow[]).map(({ key, version, value }) => ({
          key: decodeName(key),
          version: Number(version),
          value: value === null ? undefined : (JSON.parse(value) as Value),
        }))
      },
    }
  }
}

interface RecordRow {
  readonly key: string
  readonly version: unknown
  readonly value: string | null
}
