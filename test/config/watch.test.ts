import { deepEqual, equal } from 'node:assert/strict'
import { mkdir, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { watchFolders } from '../../src/config/watch.ts'
import { temporaryFolder, until } from '../support/cleanup.ts'

/** A watch that counts; every step below changes the folder at one stroke, so each counts once. */
async function counting(t: TestContext, paths: readonly string[], onChange?: (count: number) => void) {
  const stop = new AbortController()
  t.after(() => stop.abort())
  const errors: string[] = []
  let changes = 0
  const options = { intervalMs: 10, onError: (message: string) => errors.push(message) }
  await watchFolders(paths, () => (changes++, onChange?.(changes)), stop.signal, options)
  return {
    stop,
    errors,
    changes: () => changes,
    seen: (count: number) => until(`change ${count}`, () => changes === count),
  }
}

async function put(folder: string, name: string, text: string): Promise<void> {
  const draft = join(folder, 'draft')
  await writeFile(draft, text)
  await rename(draft, join(folder, name))
}

test('every way of changing a folder is seen, once', async (t) => {
  const folder = await temporaryFolder(t)
  const rules = join(folder, 'rules')
  for (const name of ['v1', 'v2', 'rules/deep']) await mkdir(join(folder, name), { recursive: true })
  for (const name of ['v1/linked.yaml', 'v2/linked.yaml', 'rules/a.yaml']) await writeFile(join(folder, name), 'same')
  await symlink('../v1', join(rules, '..data'))
  await symlink('..data/linked.yaml', join(rules, 'linked.yaml'))
  const { seen } = await counting(t, [rules, join(folder, 'late')])

  await put(folder, 'rules/deep/b.yaml', 'a new file')
  await seen(1)
  await put(folder, 'rules/a.yaml', 'editors rename over the old one')
  await seen(2)
  await symlink('../v2', join(rules, '..data_tmp')) // Kubernetes swaps a link; hidden names count for nothing
  await rename(join(rules, '..data_tmp'), join(rules, '..data'))
  await seen(3)
  await rm(join(rules, 'deep/b.yaml'))
  await seen(4)
  await mkdir(join(folder, 'late'))
  await seen(5)
})

test('a reload that throws is told and does not end the watch', async (t) => {
  const folder = await temporaryFolder(t)
  const { seen, errors } = await counting(t, [folder], (count) => {
    if (count === 1) throw new Error('could not reload')
  })
  await mkdir(join(folder, 'one'))
  await seen(1)
  await mkdir(join(folder, 'two'))
  await seen(2)
  deepEqual(errors, ['could not reload'])
})

test('a watch ends with its signal', async (t) => {
  const folder = await temporaryFolder(t)
  const ended = await counting(t, [folder])
  const witness = await counting(t, [folder])
  ended.stop.abort()
  await mkdir(join(folder, 'one'))
  await witness.seen(1)
  await mkdir(join(folder, 'two'))
  await witness.seen(2)
  equal(ended.changes(), 0)
  deepEqual(ended.errors, [])
})
