import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createEmbeddedStore, storeTables } from '../../src/queue/embedded-store.ts'

test('leases that have run out go, now and then; those in force stay', async (t) => {
  const { PGlite } = await import('@electric-sql/pglite')
  const database = await PGlite.create()
  t.after(() => database.close())
  await database.exec(storeTables)
  const query = async (text: string, params?: readonly unknown[]) => {
    const { rows } = await database.query(text, [...(params ?? [])])
    return { rows, rowCount: rows.length }
  }
  const store = createEmbeddedStore({ query }, (operation) => operation())
  for (let count = 0; count < 999; count += 1) await store.lease(`once:${count}`, 'anybody', 0)
  await store.lease('long', 'me', 60_000)
  await store.lease('last', 'me', 60_000)
  const { rows } = await query('SELECT key FROM sluice.lease ORDER BY key')
  assert.deepEqual(rows, [{ key: 'last' }, { key: 'long' }])
  assert.equal(await store.lease('long', 'you', 60_000), false)
})
