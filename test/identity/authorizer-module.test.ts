import assert from 'node:assert/strict'
import { cpSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { inspect } from 'node:util'
import type { Principal, Verdict } from '../../src/core/access.ts'
import { createModuleProcess } from '../../src/identity/authorizer/module-process.ts'
import { fixture, mqttNaming, openBoth, reasons, type Written } from '../support/authorizers.ts'
import { temporaryFolder, until } from '../support/cleanup.ts'

const local = (module: string, more: Readonly<Record<string, unknown>> = {}): Written => ({
  name: 'local',
  module: fixture(module),
  signing: 'disabled',
  ...more,
})
const principalOf = (verdict: Verdict): Principal => {
  assert.equal(verdict.kind, 'principal', inspect(verdict))
  assert.ok(verdict.kind === 'principal')
  return verdict.principal
}
const refused = { kind: 'refused', reason: 'unknown authorizer or wrong credential' }

/** Asks the module that does what the password says. */
function manyWays(scope: TestContext, more: Readonly<Record<string, unknown>> = {}) {
  const both = openBoth(scope, [local('many-ways.cjs', more)])
  return { ...both, log: both.log, ask: (password: string) => both.authenticate(mqttNaming('local', password)) }
}

describe('an authorizer that is a module', () => {
  it('runs a body written for AWS Lambda as it is', async (t) => {
    const { authenticate } = openBoth(t, [local('aws-sample.cjs')])
    const effectFor = async (password: string) => {
      const { documents, ...principal } = principalOf(await authenticate(mqttNaming('local', password)))
      assert.equal(principal.name, 'local:TEST123')
      assert.equal(principal.id, 'TEST123')
      return documents?.map(
        (document) => (document as { Statement: { Effect: string; Resource: string[] }[] }).Statement[0],
      )
    }
    assert.deepEqual(await effectFor('test of the sample'), [
      {
        Action: 'iot:Connect',
        Effect: 'Allow',
        Resource: ['arn:aws:iot:eu-west-1:123456789012:client/myClientName'],
      },
    ])
    assert.equal((await effectFor('anything else'))?.[0]?.Effect, 'Deny')
  })

  it('runs an ES module, and a default export', async (t) => {
    const { authenticate } = openBoth(t, [
      { ...local('esm.mjs'), name: 'the-esm' },
      { ...local('default-export.mjs'), name: 'plain' },
    ])
    assert.equal(principalOf(await authenticate(mqttNaming('the-esm'))).name, 'the-esm:theesm')
    assert.deepEqual(await authenticate(mqttNaming('the-esm', 'close sesame')), refused)
    assert.equal(principalOf(await authenticate(mqttNaming('plain'))).name, 'plain:plain')
  })

  it('takes an answer by promise, callback, done, succeed, and as JSON text', async (t) => {
    const { ask } = manyWays(t)
    for (const way of ['promise', 'callback', 'done', 'succeed']) {
      assert.equal(principalOf(await ask(way)).name, 'local:device1', way)
    }
    assert.deepEqual(principalOf(await ask('string')).documents, [{ Version: '2012-10-17', Statement: [] }])
  })

  it('hands over a context like that of Lambda', async (t) => {
    const { ask } = manyWays(t)
    const [context] = principalOf(await ask('context')).documents as [Record<string, unknown>]
    const { id, left, ...rest } = context
    assert.match(String(id), /^[0-9a-f-]{36}$/)
    assert.ok(typeof left === 'number' && left > 0 && left <= 5_000, String(left))
    assert.deepEqual(rest, {
      name: 'local',
      waits: true,
      arn: 'arn:aws:lambda:eu-west-1:123456789012:function:local',
    })
  })

  it('refuses where it fails or gives no answer, and goes on', async (t) => {
    const { ask, log } = manyWays(t, { timeout: '1s' })
    const ways = ['callback-error', 'fail', 'throw', 'reject', 'nothing', 'cycle', 'huge', 'never']
    for (const way of ways) assert.deepEqual(await ask(way), refused, way)
    const before = principalOf(await ask('pid')).id
    assert.deepEqual(await ask('never'), refused)
    assert.equal(principalOf(await ask('pid')).id, before)
    const said = reasons(log)
    assert.deepEqual(
      new Set(said),
      new Set([
        'the handler failed',
        'is not an object',
        'the answer cannot be written as JSON',
        'the answer has more than 65536 characters',
        ...said.filter((problem) => /in time|within 1000 ms/.test(problem)),
      ]),
    )
  })

  it('is killed when it hangs; others in flight fail, and the next call works', async (t) => {
    const { ask, log } = manyWays(t, { timeout: '500ms' })
    const before = principalOf(await ask('pid')).id
    const [hung, other] = await Promise.all([ask('loop'), ask('promise')])
    assert.deepEqual([hung, other], [refused, refused])
    await until('the process that hangs is gone', () => reasons(log).some((problem) => /it hangs/.test(problem)))
    assert.notEqual(principalOf(await ask('pid')).id, before)
  })

  for (const [what, way, why] of [
    ['fills its heap', 'heap', /ended \(SIGABRT\)|MiB of memory/],
    ['fills memory beside its heap', 'buffers', /MiB of memory/],
    ['ends itself', 'exit', /ended \(code 3\)/],
    ['throws where nobody catches', 'later-throw', /ended \(code 1\)/],
    ['writes something else into its answers', 'nonsense', /something that is no answer/],
    ['writes without end into its answers', 'flood', /more than an answer may hold/],
  ] as const) {
    it(`is started again when it ${what}`, { skip: way === 'buffers' && process.platform !== 'linux' }, async (t) => {
      const { ask, log } = manyWays(t)
      assert.deepEqual(await ask(way), refused)
      await until('its end is told', () => reasons(log).some((problem) => why.test(problem)))
      assert.equal(principalOf(await ask('promise')).name, 'local:device1')
    })
  }

  it('waits before it is started a third time, and refuses meanwhile', async (t) => {
    const { ask, log } = manyWays(t)
    await until('a call that finds nobody', async () => {
      assert.deepEqual(await ask('exit'), refused)
      return reasons(log).includes('its process has ended and is not started again yet')
    })
    await until('it is started again', async () => (await ask('promise')).kind === 'principal', 60_000)
  })

  it('refuses what has no handler, cannot be loaded, or never is, and says why', async (t) => {
    const both = openBoth(t, [
      { ...local('handlerless.mjs'), name: 'handlerless' },
      { ...local('esm.mjs'), name: 'gone', module: fixture('there-is-none.mjs') },
    ])
    assert.deepEqual(await both.authenticate(mqttNaming('handlerless')), refused)
    assert.deepEqual(await both.authenticate(mqttNaming('gone')), refused)
    await until('the reason is told', () =>
      both.log.lines.some(({ facts }) => facts['said'] === 'the module exports no function "handler"'),
    )
    assert.ok(reasons(both.log).some((problem) => problem.includes('ENOENT')))
  })

  it('kills a module that never gets loaded', async (t) => {
    const said: string[] = []
    const own = createModuleProcess({
      name: 'local',
      module: fixture('never-loads.mjs'),
      timeout: 1_000,
      memory: 64 * 1024 ** 2,
      place: { region: 'eu-west-1', account: '123456789012' },
      log: { info() {}, error() {}, warn: (_kind, _facts, message) => void said.push(message) },
      loadTimeout: 1_000,
    })
    t.after(() => own.close())
    const event = { signatureVerified: false, protocols: [], protocolData: {}, connectionMetadata: { id: 'c' } }
    await assert.rejects(own.invoke(event), /its module was not loaded within 1000 ms/)
    assert.deepEqual(said, ['the process of an authorizer is gone'])
  })

  it('may do nothing but compute and read its own folder', async (t) => {
    const { ask } = manyWays(t)
    const became = async (attempt: string) => principalOf(await ask(attempt)).id
    assert.equal(await became('environment'), 'x0')
    assert.equal(await became('own'), 'xdone')
    for (const attempt of [
      'file',
      'outside',
      'import',
      'write',
      'fetch',
      'connect',
      'listen',
      'lookup',
      'child',
      'worker',
    ]) {
      assert.equal(await became(attempt), 'xERRACCESSDENIED', attempt)
    }
    for (const attempt of ['kill', 'inspect', 'flags']) assert.equal(await became(attempt), 'xERRACCESSDENIED', attempt)
    assert.equal(await became('addon'), 'xERRDLOPENDISABLED')
    for (const attempt of ['sqlite', 'ffi']) assert.equal(await became(attempt), 'xERRUNKNOWNBUILTINMODULE', attempt)
    assert.ok(!existsSync(fixture('written')))
  })

  it('has its output in our log: bounded, paced, and without what was shown', async (t) => {
    const { ask, log } = manyWays(t)
    const secret = "it's \\ a s3cret\twith all kinds of characters"
    assert.deepEqual(await ask(secret), refused)
    await until('what it printed', () => log.lines.filter(({ facts }) => 'said' in facts).length >= 4)
    const everything = inspect(log.lines, { depth: null, maxStringLength: null })
    assert.match(everything, /protocolData/)
    for (const part of [secret, 's3cret', Buffer.from(secret).toString('base64'), '73 33 63 72 65 74']) {
      assert.ok(!everything.includes(part), part)
    }
    const before = log.lines.length
    assert.equal(principalOf(await ask('chatter')).name, 'local:device1')
    await until('some of the chatter', () => log.lines.length > before)
    assert.ok(log.lines.length - before <= 20)
    for (const { facts } of log.lines) assert.ok(inspect(facts['said']).length <= 1_100)
  })

  it('stays through a reload that changes nothing, and is another after its file has changed', async (t) => {
    const folder = await temporaryFolder(t)
    const module = join(folder, 'own.cjs')
    cpSync(fixture('many-ways.cjs'), module)
    const written = { ...local(''), module }
    const both = openBoth(t, [written])
    const pid = async () => principalOf(await both.authenticate(mqttNaming('local', 'pid'))).id
    const first = await pid()
    both.reload([written])
    assert.equal(await pid(), first)
    writeFileSync(module, `// changed\n${readFileSync(module, 'utf8')}`)
    both.reload([written])
    const second = await pid()
    assert.notEqual(second, first)
    await until('the first has ended', () => !isAlive(Number(first?.slice(1))))
    both.reload([])
    await until('the second has ended', () => !isAlive(Number(second?.slice(1))))
    assert.deepEqual(readdirSync(folder), ['own.cjs'])
  })

  it('takes a hundred calls at a time, and refuses more', async (t) => {
    const { ask, log } = manyWays(t, { timeout: '2s' })
    await ask('promise')
    const slow = Array.from({ length: 100 }, () => ask('never'))
    assert.deepEqual(await ask('promise'), refused)
    assert.ok(reasons(log).includes('100 calls are in flight already'))
    for (const verdict of await Promise.all(slow)) assert.deepEqual(verdict, refused)
    assert.equal((await ask('promise')).kind, 'principal')
  })
})

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
