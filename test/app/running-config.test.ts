import { deepEqual, equal, match, rejects } from 'node:assert/strict'
import { rm } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { catalog } from '../../src/app/catalog.ts'
import { readConfiguration } from '../../src/app/configuration.ts'
import { RunningConfig } from '../../src/app/running-config.ts'
import type { Config, Loaded } from '../../src/config/load.ts'
import { silent } from '../../src/core/log.ts'
import { ProblemsError } from '../../src/core/problem.ts'
import { Redactor } from '../../src/core/redactor.ts'
import { temporaryFolder, until } from '../support/cleanup.ts'
import { writeFiles } from '../support/sluice.ts'

const fine = {
  'workers/w.yaml': 'kind: log\n',
  'rules/one.yaml': 'from: one\nto: [{ worker: w }]\n',
  'sluice.yaml': '{}\n',
}

async function open(context: TestContext, watch: boolean, files: Readonly<Record<string, string>> = fine) {
  const folder = await temporaryFolder(context)
  const file = await writeFiles(folder, files)
  const read = (): Promise<Loaded> =>
    readConfiguration({ file, role: { kind: 'everything' }, catalog, redactor: new Redactor() })
  const { config } = await read()
  if (config === undefined) throw new Error('the fixture has problems')
  const running = await RunningConfig.open({ settings: config.settings, read, log: silent, watch })
  context.after(() => running.close())
  return { folder, running }
}

const rulesOf = ({ rules }: Config): string => rules.map(({ name }) => name).join()

test('what changes between the reading and the beginning is noticed, and waits for the beginning', async (context) => {
  const { folder, running } = await open(context, true)
  await writeFiles(folder, { 'rules/two.yaml': 'from: two\nto: [{ worker: w }]\n' })
  const seen: string[] = []
  running.onChange((config) => () => void seen.push(rulesOf(config)))
  const reloaded = running.reload()
  equal(await Promise.race([reloaded, new Promise((resolve) => setTimeout(resolve, 50, 'waits'))]), 'waits')
  equal(rulesOf(running.current), 'one')
  running.begin()
  deepEqual(await reloaded, [])
  await until('seen by itself too', () => seen.length === 2)
  deepEqual(seen, ['one,two', 'one,two'])
})

test('every part prepares before any commits; one that can’t keeps all as they are', async (context) => {
  const { running } = await open(context, false)
  running.begin()
  const before = running.current
  const events: string[] = []
  let isBroken = true
  running.onChange(() => (events.push('first prepares'), () => void events.push('first commits')))
  running.onChange(async () => {
    if (isBroken) throw new Error('this can’t be had')
    return () => Promise.reject(new Error('too late to refuse'))
  })
  running.onChange(() => () => (events.push('last commits'), [{ ...place, message: 'elsewhere' }]))
  await rejects(running.reload(), /can’t be had/)
  deepEqual([events, running.current === before], [['first prepares'], true])
  isBroken = false
  deepEqual(await running.reload(), [{ ...place, message: 'elsewhere' }], 'and the turn of the next comes')
  deepEqual(events.slice(1), ['first prepares', 'first commits', 'last commits'])
})

const place = { file: 'f', line: 1, column: 1, path: '' }

test('problems leave the running one running', async (context) => {
  const { folder, running } = await open(context, false)
  running.begin()
  await writeFiles(folder, { 'rules/two.yaml': 'from: two\nto: [{ worker: nobody }]\n' })
  const [problem] = await running.reload()
  match(problem?.message ?? '', /nobody/)
  equal(problem?.file.endsWith(join('rules', 'two.yaml')), true)
  equal(rulesOf(running.current), 'one')
})

test('a configuration with problems is not opened, and nothing is watched after a close', async (context) => {
  const { running } = await open(context, false)
  await running.close()
  deepEqual(await running.reload(), [])
  const problems = [{ ...place, message: 'no' }]
  const { settings } = running.current
  await rejects(
    RunningConfig.open({ settings, read: async () => ({ problems }), log: silent, watch: true }),
    ProblemsError,
  )
})

test('what is lost without a word leaves the running one running', async (context) => {
  const { folder, running } = await open(context, false)
  running.begin()
  await writeFiles(folder, {
    'identity/p.yaml': 'principals: [{ name: a, token: { sha256: "' + 'a'.repeat(64) + '" } }]\n',
  })
  deepEqual(await running.reload(), [])
  const reloaded = async (files: Record<string, string>) => {
    await writeFiles(folder, files)
    return (await running.reload()).map((problem) => `${basename(problem.file)}: ${problem.message}`)
  }
  const isEmpty = (key: string) => `the file is empty; write "${key}: []" if it is to hold none, or remove it`

  deepEqual(await reloaded({ 'rules/one.yaml': '' }), [`one.yaml: ${isEmpty('rules')}`])
  deepEqual(await reloaded({ 'rules/one.yaml': fine['rules/one.yaml'], 'identity/p.yaml': '' }), [
    `p.yaml: ${isEmpty('principals')}`,
  ])
  equal(running.current.directory.principals.has('a'), true)
  await rm(join(folder, 'rules/one.yaml'))
  const none = 'rules: held a rule and holds none now; a file with "rules: []" says that there are to be none'
  deepEqual(await reloaded({ 'identity/p.yaml': 'principals: []\n' }), [none])
  await rm(join(folder, 'rules'), { recursive: true })
  deepEqual(await reloaded({}), [none])
  deepEqual(await reloaded({ 'sluice.yaml': '', 'rules/one.yaml': fine['rules/one.yaml'] }), [
    'sluice.yaml: the file is empty; write "{}" if everything is to have its default',
  ])
  equal(rulesOf(running.current), 'one')

  deepEqual(await reloaded({ 'sluice.yaml': '{}', 'rules/one.yaml': 'rules: []\n' }), [])
  equal(rulesOf(running.current), '')
  equal(running.current.directory.principals.size, 0)
})

test('a worker that gets what no rule takes cannot go from under a running Sluice', async (context) => {
  const { folder, running } = await open(context, false, {
    ...fine,
    'workers/rest.yaml': 'kind: log\n',
    'sluice.yaml': 'unmatched: [rest]\n',
  })
  running.begin()
  await writeFiles(folder, { 'sluice.yaml': '{}\n' })
  deepEqual(await running.reload(), [])
  await rm(join(folder, 'workers/rest.yaml'))
  const [problem] = await running.reload()
  match(problem?.message ?? '', /sends to worker "rest" what no rule takes \(unmatched\), and it is gone: restart/)
})
