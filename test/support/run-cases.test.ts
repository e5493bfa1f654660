import { deepEqual, equal, match } from 'node:assert/strict'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { createJsonataSuite } from './cases/jsonata.ts'
import { temporaryFolder } from './cleanup.ts'
import { run } from './process.ts'

const good = {
  id: 'good',
  policies: [{ Version: '2012-10-17', Statement: [{ Effect: 'Allow', Action: 'iot:Publish', Resource: '*' }] }],
  context: { protocol: 'mqtt' },
  request: { action: 'iot:Publish', resource: 'arn:aws:iot:r:1:topic/a' },
  expect: 'allow',
}

async function folderWith(t: TestContext, files: Readonly<Record<string, unknown>>): Promise<string> {
  const folder = await temporaryFolder(t)
  for (const [name, content] of Object.entries(files)) {
    await mkdir(join(folder, name, '..'), { recursive: true })
    await writeFile(join(folder, name), typeof content === 'string' ? content : JSON.stringify(content))
  }
  return folder
}

async function runner(t: TestContext, ...parameters: string[]): Promise<{ code: number | null; lines: string[] }> {
  const running = run(t, process.execPath, ['test/support/run-cases.ts', ...parameters])
  const code = await running.ended()
  return { code, lines: running.output().trimEnd().split('\n') }
}

test('ends with 0 and the counts on a line of their own when all cases pass', async (t) => {
  const { code, lines } = await runner(t, await folderWith(t, { 'policy-cases.json': [good] }))
  equal(lines.at(-1), '1 passed, 0 failed')
  equal(code, 0)
})

test('ends with 1 when a case fails, and names it', async (t) => {
  const folder = await folderWith(t, {
    'policy-cases.json': [good, { ...good, id: 'bad', expect: 'deny' }],
    'shadow-cases.json': [{ id: 'a-shadow' }],
  })
  const { code, lines } = await runner(t, folder)
  equal(lines.at(-1), '1 passed, 1 failed, 1 skipped')
  match(lines.join('\n'), /policy: 1 passed, 1 failed\n {2}bad\n {4}expected deny\n {4}got {6}allow/)
  match(lines.join('\n'), /not supported: not there yet: a-shadow/)
  equal(code, 1)
})

test('a folder without cases, and none at all, is wrong use', async (t) => {
  equal((await runner(t, await temporaryFolder(t))).code, 2)
  equal((await runner(t)).code, 2)
  equal((await runner(t, await folderWith(t, { 'policy-cases.json': [{ id: 'x' }] }))).code, 2)
})

test('reads jsonata cases in all their forms', async (t) => {
  const folder = await folderWith(t, {
    'jsonata/datasets/d.json': { a: [1, 2] },
    'jsonata/groups/g/expression.jsonata': 'a[0]',
    'jsonata/groups/g/many.json': [
      { expr: 'a', dataset: 'd', result: [1, 2] },
      { 'expr-file': 'expression.jsonata', dataset: 'd', result: 1 },
      { expr: '$x + b', data: { b: 1 }, bindings: { x: 2 }, result: 3 },
      { expr: 'nothing', dataset: null, undefinedResult: true },
      { expr: '1 + "a"', dataset: null, code: 'T2002' },
      { expr: '1 + "a"', dataset: null, error: { code: 'T2002' } },
      { expr: 'a', data: { a: [2, 1] }, unordered: true, result: [1, 2] },
      { expr: '$f := function(){ $f() }', data: {}, result: 'never' },
    ],
    'jsonata/groups/g/one.json': { expr: 'a', dataset: 'd', result: [2, 1] },
    'jsonata/groups/g/regex.json': { expr: '$match("ab", /a(?=b)/)', data: {}, result: {} },
  })
  const results = (await createJsonataSuite().run(folder)) ?? []
  deepEqual(
    results.map(({ id, kind }) => `${id} ${kind}`),
    [
      ...['0', '1', '2', '3', '4', '5', '6'].map((index) => `g/many#${index} passed`),
      'g/many#7 failed',
      'g/one failed',
      'g/regex skipped',
    ],
  )
})

test('a jsonata case fails when the implementation does something else', async (t) => {
  const folder = await folderWith(t, {
    'jsonata/groups/g/cases.json': [
      { expr: '1', data: {}, result: 1 },
      { expr: '1', data: {}, code: 'T2002' },
      { expr: '1', data: {}, undefinedResult: true },
    ],
  })
  const wrong = await createJsonataSuite(async () => 2).run(folder)
  deepEqual(
    wrong?.map(({ kind }) => kind),
    ['failed', 'failed', 'failed'],
  )
  const throwing = await createJsonataSuite(async () => {
    throw Object.assign(new Error('no'), { code: 'X1' })
  }).run(folder)
  deepEqual(
    throwing?.map(({ kind }) => kind),
    ['failed', 'failed', 'failed'],
  )
})
