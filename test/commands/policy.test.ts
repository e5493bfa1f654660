import { deepEqual, equal, match, rejects } from 'node:assert/strict'
import { join } from 'node:path'
import { before, describe, mock, test } from 'node:test'
import { Command } from 'commander'
import { addPolicy } from '../../src/commands/policy.ts'
import { temporaryFolder } from '../support/cleanup.ts'
import { suiteScope } from '../support/command.ts'
import { writeFiles } from '../support/sluice.ts'

const thing = '${iot:Connection.Thing.ThingName}'
const files = {
  'sluice.yaml': `listen: {}
arn: { region: here, account: '123456789012' }
bridges:
  - { name: plant, url: 'mqtt://127.0.0.1', topics: ['a/#'], policies: [inside] }
  - { name: open, url: 'mqtt://127.0.0.1', topics: ['a/#'] }
`,
  'identity/who.yaml': `things:
  - { name: d-17, type: pump, groups: [field], policies: [own] }
groups:
  - { name: field, parent: all, policies: [inside] }
  - { name: all, policies: [inside, kept] }
principals:
  - { name: d-17, thing: d-17, policies: [own], token: { sha256: ${'a'.repeat(64)} } }
  - { name: nobody, token: { sha256: ${'b'.repeat(64)} } }
policies:
  own:
    Version: '2012-10-17'
    Statement:
      - { Effect: Allow, Action: iot:Connect, Resource: 'arn:aws:iot:here:123456789012:client/${thing}' }
      - { Effect: Allow, Action: [iot:Publish, iot:Receive], Resource: 'arn:aws:iot:here:123456789012:topic/devices/${thing}/*' }
      - { Effect: Allow, Action: iot:ListNamedShadowsForThing, Resource: 'arn:aws:iot:here:123456789012:thing/${thing}' }
      - { Effect: Allow, Action: iot:Subscribe, Resource: 'arn:aws:iot:here:123456789012:topicfilter/*' }
  kept:
    Version: '2012-10-17'
    Statement:
      - { Effect: Allow, Action: iot:RetainPublish, Resource: 'arn:aws:iot:*:*:topic/*/kept' }
  inside:
    Version: '2012-10-17'
    Statement:
      - Effect: Deny
        Action: iot:Publish
        Resource: 'arn:aws:iot:*:*:topic/\${iot:Thing.ThingName}'
      - { Effect: Deny, Action: '*', Resource: '*', Condition: { NotIpAddress: { aws:SourceIp: 10.0.0.0/8 } } }
`,
}

describe('sluice policy', () => {
  const scope = suiteScope()
  let folder = ''
  before(async () => {
    folder = await temporaryFolder(scope)
    await writeFiles(folder, files)
  })

  const run = (...parameters: readonly string[]) => runIn(folder, ...parameters)

  async function runIn(
    folder: string,
    ...parameters: readonly string[]
  ): Promise<{ readonly code: number; readonly text: string }> {
    const lines: string[] = []
    const log = mock.method(console, 'log', (line: string) => void lines.push(line))
    const program = new Command('sluice')
      .option('--config <file>')
      .exitOverride()
      .configureOutput({ writeErr() {} })
    addPolicy(program)
    try {
      await program.parseAsync(['--config', join(folder, 'sluice.yaml'), 'policy', ...parameters], { from: 'user' })
      return { code: Number(process.exitCode ?? 0), text: lines.join('\n').replaceAll(`${folder}/`, '') }
    } finally {
      log.mock.restore()
      process.exitCode = 0
    }
  }

  const simulate = (action: string, resource: string, ...rest: readonly string[]) =>
    run(
      'simulate',
      '--principal',
      'd-17',
      '--source-ip',
      '10.0.0.7',
      '--action',
      action,
      '--resource',
      resource,
      ...rest,
    )

  test('what is allowed, by which statement, at which line', async () => {
    const { code, text } = await simulate('iot:publish', 'devices/d-17/a')
    equal(code, 0)
    match(
      text,
      /^allow {2}iot:Publish arn:aws:iot:here:123456789012:topic\/devices\/d-17\/a\n +d-17 over mqtt as client d-17\n/,
    )
    match(text, /statement 2 of policy own allows it \(identity\/who\.yaml:1\d:\d+\)$/)
  })

  test('names are completed for the action, and a whole ARN is taken as it is', async () => {
    const answers = async (...given: Parameters<typeof simulate>) => (await simulate(...given)).text.split('\n')[0]
    equal(await answers('iot:Connect', 'd-17'), 'allow  iot:Connect arn:aws:iot:here:123456789012:client/d-17')
    equal(await answers('iot:Connect', 'd-18'), 'deny  iot:Connect arn:aws:iot:here:123456789012:client/d-18')
    equal(await answers('iot:Subscribe', 'a/#'), 'allow  iot:Subscribe arn:aws:iot:here:123456789012:topicfilter/a/#')
    equal(
      await answers('iot:Receive', 'devices/d-17/x'),
      'allow  iot:Receive arn:aws:iot:here:123456789012:topic/devices/d-17/x',
    )
    equal(
      await answers('iot:ListNamedShadowsForThing', 'd-17'),
      'allow  iot:ListNamedShadowsForThing arn:aws:iot:here:123456789012:thing/d-17',
    )
    equal(await answers('iot:ListRetainedMessages', 'whatever'), 'deny  iot:ListRetainedMessages *')
    const elsewhere = 'arn:aws:iot:there:123456789012:topic/devices/d-17/x'
    equal(await answers('iot:Publish', elsewhere), `deny  iot:Publish ${elsewhere}`)
  })

  test('what denies, or that nothing allows, and what had no value', async () => {
    const explicit = await simulate('iot:Publish', 'd-17')
    equal(explicit.code, 1)
    match(explicit.text, /statement 1 of policy inside denies it \(identity\/who\.yaml:2\d:\d+\)$/)
    const outside = await simulate('iot:Connect', 'd-17', '--source-ip', '192.0.2.1')
    match(outside.text, /statement 2 of policy inside denies it/)
    const other = await simulate('iot:Publish', 'devices/d-17/a', '--client-id', 'other')
    equal(other.code, 1)
    // Without its thing, nobody can say that this is not the topic which is denied.
    match(other.text, /statement 1 of policy inside denies it .*\n +without a value: .*iot:Thing\.ThingName$/)
    const implicit = await simulate('iot:Receive', 'devices/d-17/a', '--client-id', 'other')
    equal(implicit.code, 1)
    match(
      implicit.text,
      /no statement of own, inside, kept allows it\n +without a value: iot:Connection\.Thing\.ThingName$/,
    )
    equal((await simulate('iot:Publish', 'devices/d-17/a', '--protocol', 'http')).code, 0)
    equal((await simulate('iot:Publish', 'devices/d-17/a', '--retain')).code, 1)
    equal((await simulate('iot:Publish', 'devices/d-17/kept', '--retain')).code, 0)
    const none = await run('simulate', '--principal', 'nobody', '--action', 'iot:Publish', '--resource', 'a')
    match(none.text, /no policy is attached$/)
  })

  test('topics that are closed whatever policies say', async () => {
    equal((await simulate('iot:Subscribe', '$aws/rules/x')).code, 1)
    match((await simulate('iot:Publish', '$SYS/x')).text, /topics that begin with "\$" are reserved/)
    const shadow = '$aws/things/d-17/shadow/update'
    match((await simulate('iot:Publish', shadow, '--retain')).text, /nothing is retained on them/)
    match((await simulate('iot:RetainPublish', shadow)).text, /nothing is retained on them/)
  })

  test('as JSON', async () => {
    const { text } = await simulate('iot:Publish', 'devices/d-17/a', '--json')
    const { statement, ...rest } = JSON.parse(text) as { readonly statement: Record<string, unknown> }
    deepEqual(rest, {
      decision: 'allow',
      explicit: false,
      missingContextValues: [],
      action: 'iot:Publish',
      resource: 'arn:aws:iot:here:123456789012:topic/devices/d-17/a',
      clientId: 'd-17',
      because: 'a statement allows it',
    })
    deepEqual([statement['policy'], statement['number']], ['own', 2])
  })

  test('the policies in force, and through what', async () => {
    const { code, text } = await run('effective', '--principal', 'd-17')
    equal(code, 0)
    const rows = text.split('\n').map((line) => line.replace(/ {2,}\S+:\d+:\d+$/, ''))
    deepEqual(rows, [
      'own     principal; thing d-17',
      'inside  group field; group all, parent of field',
      'kept    group all, parent of field',
      "note: inside, Statement.0.Resource: iot:Thing.ThingName is in no list of AWS's; write iot:Connection.Thing.ThingName",
    ])
    equal((await run('effective', '--principal', 'nobody')).text, 'no policy is attached, so everything is denied')
    match((await run('effective', '--principal', 'bridge:plant')).text, /^inside {2}bridge:plant/)
    const json = JSON.parse((await run('effective', '--principal', 'd-17', '--json')).text) as { name: string }[]
    deepEqual(
      json.map(({ name }) => name),
      ['own', 'inside', 'kept'],
    )
  })

  test('bridges are asked by their policies', async () => {
    const denied = await run('simulate', '--principal', 'bridge:plant', '--action', 'iot:Publish', '--resource', 'a/b')
    match(denied.text, /policy inside denies it/)
    await rejects(run('effective', '--principal', 'bridge:open'), /the bridge "open" has no policies/)
  })

  test('secrets behind references are not needed', async (context) => {
    const other = await temporaryFolder(context)
    await writeFiles(other, {
      'sluice.yaml': '',
      'identity/keys.yaml': `principals:
  - name: station
    sigv4: { accessKeyId: SLCSTATION4EXAMPLE01, secretAccessKey: '\${file:secrets/station}' }
    webhook: { secret: ['\${file:secrets/hook}'] }
`,
    })
    const asked = ['--principal', 'station', '--action', 'iot:Publish', '--resource', 'a']
    const { code, text } = await runIn(other, 'simulate', ...asked)
    deepEqual([code, text.split('\n').at(-1)?.trim()], [1, 'no policy is attached'])
    await rejects(runIn(other, 'simulate', '--principal', 'statoin', ...asked.slice(2)), /did you mean "station"\?/)
  })

  test('wrong use says what there is', async () => {
    await rejects(run('effective', '--principal', 'd-71'), /identity\/ has no principal "d-71"; did you mean "d-17"\?/)
    await rejects(simulate('iot:Publihs', 'a'), /there is no action "iot:Publihs"; did you mean iot:Publish\?/)
    await rejects(simulate('publish', 'a'), /there is no action "publish"; there are iot:Connect, /)
    await rejects(simulate('iot:Publish', 'a', '--protocol', 'coap'), /Allowed choices are mqtt, mqtt-ws, http/)
    await rejects(run('simulate', '--principal', 'd-17', '--action', 'iot:Publish'), /required option '--resource/)
  })
})
