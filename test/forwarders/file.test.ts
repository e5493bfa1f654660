import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { appendFile, mkdir, open, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { it, type TestContext } from 'node:test'
import type { AnyForwarderDefinition, Item } from '../../src/core/forwarder.ts'
import { file } from '../../src/forwarders/file.ts'
import { forwarderConformance } from '../conformance/forwarder.ts'
import { type Scope, temporaryFolder } from '../support/cleanup.ts'
import { itemOf, itemsOf } from '../support/items.ts'
import { keepLines } from '../support/logs.ts'
import { run } from '../support/process.ts'

forwarderConformance({
  definition: file,
  async taking(scope) {
    const path = join(await temporaryFolder(scope), 'new', 'folder', 'archive.ndjson')
    return { settings: { path }, arrived: async () => (await linesOf(path)).length }
  },
  blocked: {
    'a folder stands in its place': async (scope) => ({ settings: { path: await temporaryFolder(scope) } }),
    'a file stands where a folder is wanted': async (scope) => {
      const path = join(await temporaryFolder(scope), 'file')
      await writeFile(path, '')
      return { settings: { path: join(path, 'archive.ndjson') } }
    },
    'a pipe stands in its place': async (scope) => {
      const path = join(await temporaryFolder(scope), 'pipe')
      execFileSync('mkfifo', [path])
      return { settings: { path } }
    },
    'something huge without lines stands in its place': async (scope) => {
      const path = join(await temporaryFolder(scope), 'disk.img')
      await writeFile(path, 'x')
      await truncate(path, 100 * 1024 * 1024)
      return { settings: { path } }
    },
  },
  secrets: [],
})

it('writes a line for each message: JSON as it is, on one line, and the rest as base64', async (t) => {
  const { path, send } = await opened(t)
  const items = [
    itemOf({ payload: '{ "big": 12345678901234567890,\n  "x": 1.10 }' }),
    itemOf({ payload: Buffer.from([0xff]) }),
    itemOf({ payload: '{"at":1}', selected: true }),
  ]
  assert.deepEqual(await send(items), ['delivered', 'delivered', 'delivered'])
  const expected = '{"big":12345678901234567890,"x":1.10}\n{"base64":"/w=="}\n{"at":1}\n'
  assert.equal(await readFile(path, 'utf8'), expected)
})

it('is readable by its owner only', async (t) => {
  const { path } = await opened(t)
  assert.equal((await stat(path)).mode & 0o777, 0o600)
})

it('syncs once a batch, before it says delivered', async (t) => {
  const { send } = await opened(t)
  const datasync = t.mock.method(await fileHandle(t), 'datasync')
  await send(itemsOf(100))
  assert.equal(datasync.mock.callCount(), 1)
})

it('goes on where it was, and cuts off a torn last line with a warning', async (t) => {
  const path = join(await temporaryFolder(t), 'archive.ndjson')
  await writeFile(path, `{"n":"old"}\n{"torn":"${'x'.repeat(200_000)}`)
  const { send, log } = await opened(t, { path })
  assert.equal(log.lines.find(({ level }) => level === 'warn')?.facts['bytes'], 200_009)
  await send(itemsOf(1))
  assert.equal(await readFile(path, 'utf8'), '{"n":"old"}\n{"n":0}\n')
})

it('cuts off a first line that was torn', async (t) => {
  const path = join(await temporaryFolder(t), 'archive.ndjson')
  await writeFile(path, '{"to')
  await opened(t, { path })
  assert.equal(await readFile(path, 'utf8'), '')
})

it('takes back what it wrote when the sync fails, and goes on afterwards', async (t) => {
  const { path, forwarder, send } = await opened(t)
  await send(itemsOf(1))
  const failure = Object.assign(new Error('EIO: i/o error, fdatasync'), { code: 'EIO' })
  const mocked = t.mock.method(await fileHandle(t), 'datasync', () => Promise.reject(failure))
  const signal = new AbortController().signal
  assert.deepEqual(await forwarder.send([itemOf()], signal), [
    { kind: 'retry', answered: false, reason: 'EIO: i/o error, fdatasync' },
  ])
  assert.equal(await readFile(path, 'utf8'), '{"n":0}\n')
  mocked.mock.restore()
  assert.deepEqual(await send([itemOf({ payload: '1' })]), ['delivered'])
  assert.equal(await readFile(path, 'utf8'), '{"n":0}\n1\n')
})

it('leaves no half of a batch when the disk takes only a part, and says that it will be tried again', async (t) => {
  const path = join(await temporaryFolder(t), 'archive.ndjson')
  // A limit on the size of a file (8 KiB) does what a full disk does: a short write, then an error.
  const program = `
    const { file } = await import('./src/forwarders/file.ts')
    const { silent } = await import('./src/core/log.ts')
    const signal = new AbortController().signal
    const forwarder = await file.open(file.settings.parse({ path: ${JSON.stringify(path)} }), { signal, log: silent })
    const batch = (size) => [{ payload: Buffer.from('"' + 'x'.repeat(size - 3) + '"') }]
    const outcomes = []
    for (const size of [5000, 5000, 3000]) outcomes.push(...(await forwarder.send(batch(size), signal)))
    await forwarder.close()
    console.log(JSON.stringify(outcomes.map(({ kind, answered }) => [kind, answered])))`
  const limited = ['-c', 'ulimit -f 8; exec "$0" --input-type=module-typescript -e "$1"', process.execPath, program]
  const child = run(t, 'bash', limited)
  assert.equal(await child.ended(), 0, child.output())
  assert.equal(child.output().trim(), '[["delivered",null],["retry",false],["delivered",null]]')
  const lines = await linesOf(path)
  assert.deepEqual(
    lines.map(({ length }) => length),
    [4_999, 2_999],
  )
})

it('writes to a new file when the old one was deleted or moved away', async (t) => {
  const { path, send } = await opened(t)
  await send(itemsOf(1))
  await rm(path)
  await send([itemOf({ payload: '2' })])
  assert.equal(await readFile(path, 'utf8'), '2\n')
})

it('moves a full file away and keeps so many, the newest under .1', async (t) => {
  const { path, folder, send } = await opened(t, { rotate: { bytes: 25, keep: 3 } })
  for (let n = 0; n < 11; n += 1) await send([itemOf({ payload: `{"n":${n + 10}}` })])
  // 9 bytes a line: two a file.
  assert.deepEqual((await readdir(folder)).toSorted(), [
    'archive.ndjson',
    ...[1, 2, 3].map((n) => `archive.ndjson.${n}`),
  ])
  const all = await Promise.all(['.3', '.2', '.1', ''].map((end) => readFile(`${path}${end}`, 'utf8')))
  assert.deepEqual(all, ['{"n":14}\n{"n":15}\n', '{"n":16}\n{"n":17}\n', '{"n":18}\n{"n":19}\n', '{"n":20}\n'])
})

it('writes a batch over the size into a file of its own, and rotates nothing empty', async (t) => {
  const { folder, send } = await opened(t, { rotate: { bytes: 10, keep: 3 } })
  await send(itemsOf(5))
  assert.deepEqual(await readdir(folder), ['archive.ndjson'])
})

it('loses no file when it died while it moved them: a gap is filled, nothing replaced', async (t) => {
  const folder = await temporaryFolder(t)
  const path = join(folder, 'archive.ndjson')
  // Died after .2 became .3: there is a gap at .2.
  for (const [end, text] of [
    ['', 'now'],
    ['.1', 'one'],
    ['.3', 'two'],
    ['.4', 'three'],
  ] as const) {
    await writeFile(`${path}${end}`, `"${text}"\n`)
  }
  const { send } = await opened(t, { path, rotate: { bytes: 6, keep: 4 } })
  await send([itemOf({ payload: '1' })])
  const all = await Promise.all(['', '.1', '.2', '.3', '.4'].map((end) => readFile(`${path}${end}`, 'utf8')))
  assert.deepEqual(all, ['1\n', '"now"\n', '"one"\n', '"two"\n', '"three"\n'])
})

it('keeps batches whole and in order that are sent side by side', async (t) => {
  const { path, forwarder } = await opened(t, { rotate: { bytes: 2_000, keep: 100 } })
  const signal = new AbortController().signal
  const batches = Array.from({ length: 40 }, (_, batch) =>
    Array.from({ length: 5 }, (_, n) => itemOf({ payload: `{"batch":${batch},"n":${n}}` })),
  )
  await Promise.all(batches.map((batch) => forwarder.send(batch, signal)))
  const files = [path, ...Array.from({ length: 100 }, (_, n) => `${path}.${n + 1}`)].filter((name) => existsSync(name))
  const lines = (await Promise.all(files.toReversed().map(linesOf))).flat()
  assert.deepEqual(
    lines,
    batches.flat().map(({ payload }) => payload.toString()),
  )
})

it('checks that it can write, and creates what is missing', async (t) => {
  const { path, folder, forwarder } = await opened(t)
  await rm(folder, { recursive: true })
  await forwarder.check?.(new AbortController().signal)
  assert.ok(existsSync(path))
  await rm(path)
  await mkdir(path)
  await assert.rejects(async () => forwarder.check?.(new AbortController().signal), /EISDIR/)
})

it('has rotation with its defaults, or none', () => {
  assert.deepEqual(file.settings.parse({ path: 'a', rotate: {} }).rotate, { bytes: 67_108_864, keep: 10 })
  assert.equal(file.settings.parse({ path: 'a' }).rotate, undefined)
  for (const rotate of [{ keep: 0 }, { bytes: 0 }, { bytes: 'much' }]) {
    assert.equal(file.settings.safeParse({ path: 'a', rotate }).success, false)
  }
})

async function opened(scope: Scope, settings: { readonly path?: string; readonly rotate?: object } = {}) {
  const folder = await temporaryFolder(scope)
  const path = settings.path ?? join(folder, 'archive.ndjson')
  const log = keepLines()
  const signal = new AbortController().signal
  const definition: AnyForwarderDefinition = file
  const forwarder = await definition.open(file.settings.parse({ ...settings, path }), { worker: 'w', signal, log })
  scope.after(() => forwarder.close())
  const send = async (items: readonly Item[]) => (await forwarder.send(items, signal)).map(({ kind }) => kind)
  return { path, folder, log, forwarder, send }
}

async function linesOf(path: string): Promise<readonly string[]> {
  const text = await readFile(path, 'utf8')
  assert.ok(text === '' || text.endsWith('\n'))
  return text.split('\n').slice(0, -1)
}

/** What all open files share: the place to watch or break their methods. */
async function fileHandle(t: TestContext) {
  const path = join(await temporaryFolder(t), 'any')
  await appendFile(path, '')
  const handle = await open(path)
  await handle.close()
  return Object.getPrototypeOf(handle) as typeof handle
}
