import { deepEqual, equal, match } from 'node:assert/strict'
import { cp, readFile, symlink, writeFile } from 'node:fs/promises'
import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { describe, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { parse } from 'yaml'
import { freePort, type Scope, temporaryFolder, until } from './support/cleanup.ts'
import { ended, type Ran, suiteScope } from './support/command.ts'
import { startMosquitto } from './support/mosquitto.ts'
import { run, type Running } from './support/process.ts'
import { startRedis } from './support/redis.ts'
import { logLines, plainEnvironment, ready, sluice, writeFiles } from './support/sluice.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const readme = await readFile(join(root, 'README.md'), 'utf8')

interface Block {
  readonly language: string
  readonly text: string
}
function blocksOf(text: string): readonly Block[] {
  return [...text.matchAll(/^```(?<language>\w+)\n(?<text>[^]*?)^```$/gm)].map(({ groups }) => ({
    language: groups?.['language'] ?? '',
    text: groups?.['text'] ?? '',
  }))
}

const beside = /^## Beside your Mosquitto\n[^]*?(?=^## )/m.exec(readme)?.[0] ?? ''
const blocksBeside = blocksOf(beside)
const blocks = blocksOf(readme.replace(beside, ''))

/** What can't run inside of `npm test`, and where it is proved instead. */
const elsewhere: Readonly<Record<string, string>> = {
  'npm ci': '.ci/run',
  'npm start': 'test/end-to-end/first-run.test.ts',
  'docker compose up': 'test/end-to-end/compose.test.ts',
  'npm test': '.ci/run',
}

/** What a newcomer sees, command by command in the order of the README; all of them end with 0. */
const seen: Readonly<Record<string, RegExp>> = {
  [`npx sluice publish buildings/b1/rooms/7/climate '{"celsius":31,"status":"ok"}'`]:
    /^accepted, durable: .*\n {2}alerts \(log\).*delivered[^]*archive \(file\).*delivered/,
  'npx sluice check': /^fine: /,
  'npx sluice test': /^ok {3}smoke: smoke alerts$[^]*\n9 passed, 0 failed\n$/m,
  [`echo '{"topic":"buildings/b1/rooms/7/smoke","payload":{"density":0.9}}' | npx sluice eval`]:
    /"rule":"smoke","outcome":"deliveries","output":\{"room":"7","density":0.9,"at":\d+\},"to":\[\{"worker":"alerts"\}\]/,
  'npx sluice explain smoke': /^smoke {2}rules\/smoke\.yaml:1:1\n/,
  'npx sluice dead-letters ls': /^no dead letters\n$/,
  'npx sluice status': /^ready\n[^]*\nhook {5}/,
  'npx sluice ledger': /every message is accounted for/,
  'npx sluice pki issue d-17 --thing d-17 --policy telemetry': /identity\/d-17\.yaml/,
  'npx sluice identity new d-18 --thing d-18 --policy telemetry': /^identity\/d-18\.yaml holds [^]*\n {2}slc_/,
  'npx sluice policy simulate --principal d-17 --action iot:Publish --resource things/d-17/climate':
    /^allow[^]*telemetry/,
}

/** The same beside a Mosquitto. */
const seenBeside: Readonly<Record<string, RegExp>> = {
  'npx sluice check': /^fine: /m,
  'npx sluice policy simulate --via bridge:plant --thing dev-1 --action iot:Publish --resource devices/dev-1/climate':
    /^allow {2}iot:Publish .*:topic\/devices\/dev-1\/climate\n +thing dev-1 via bridge:plant\n/,
  [`mosquitto_pub -q 1 -t devices/dev-1/climate -m '{"celsius":21}'`]: /^$/,
  [`mosquitto_pub -q 1 -t devices/dev-2/climate -m '{"celsius":22}'`]: /^$/,
  'npx sluice dead-letters ls --worker bridge:plant':
    /bridge:plant .*refused .*devices\/dev-2\/climate +unknown-thing: no thing dev-2 in identity\//,
  'npx sluice dead-letters replay --all --worker bridge:plant': /^\{"replayed":1,"kept":0,/,
}

/** Where the text says that a YAML block is to be written; the one without a place is a part of sluice.yaml. */
const places: readonly (string | undefined)[] = ['rules/smoke.yaml', 'workers/hook.yaml']
const placesBeside: readonly (string | undefined)[] = [undefined, 'identity/devices.yaml', 'rules/devices.yaml']

test('README.md holds no command and no YAML that these tests don’t know', () => {
  const commands = [...blocks, ...blocksBeside]
    .filter(({ language }) => language === 'sh')
    .flatMap(({ text }) => text.trim().split('\n'))
  deepEqual(
    new Set(commands),
    new Set([...Object.keys(elsewhere), ...Object.keys(seen), ...Object.keys(seenBeside)]),
    'a new command needs a line in one of the tables above',
  )
  for (const proof of Object.values(elsewhere)) equal(existsSync(join(root, proof)), true, proof)
  equal(blocks.filter(({ language }) => language === 'yaml').length, places.length)
  equal(blocksBeside.filter(({ language }) => language === 'yaml').length, placesBeside.length)
  for (const place of [...places, ...placesBeside].filter((known) => known !== undefined))
    equal(readme.includes(`Write \`${place}\``), true, place)
  deepEqual(new Set(blocks.map(({ language }) => language)), new Set(['sh', 'yaml']))
})

test('the links of README.md lead to files', () => {
  const targets = [...readme.matchAll(/\]\((?!https?:)(?<target>[^)#]+)/g)].map(
    ({ groups }) => groups?.['target'] ?? '',
  )
  deepEqual(
    targets.filter((target) => !existsSync(join(root, target))),
    [],
  )
})

/** What a clone has, in a folder of its own. */
async function cloned(scope: Scope): Promise<string> {
  const folder = await temporaryFolder(scope)
  for (const name of ['bin', 'src', 'rules', 'workers', 'identity', 'package.json'])
    await cp(join(root, name), join(folder, name), {
      recursive: true,
      filter: (source) => !source.endsWith('try-out.yaml'),
    })
  await symlink(join(root, 'node_modules'), join(folder, 'node_modules'))
  return folder
}

describe('the commands of README.md, in a folder as a clone has it', () => {
  const scope = suiteScope()
  let folder = ''
  let running: Running

  before(async () => {
    folder = await cloned(scope)
    const text = await readFile(join(root, 'sluice.yaml'), 'utf8')
    let own = text
    for (const port of ['8080', '1883', '8443', '8883']) own = own.replace(port, String(await freePort()))
    await writeFiles(folder, { 'sluice.yaml': own })
    const { scripts } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as {
      scripts: Record<string, string>
    }
    equal(scripts['start'], 'node bin/sluice.js start', 'what `npm start` runs is what is started here')
    running = sluice(scope, join(folder, 'sluice.yaml'), ['start'], { cwd: folder })
    await ready(running)
  })

  let yaml = 0
  for (const { language, text } of blocks) {
    if (language === 'yaml') {
      const place = places[yaml++]
      if (place === undefined) continue
      test(`(write ${place})`, async () => {
        const reloads = () => logLines(running).filter(({ msg }) => msg === 'rules and identities are in force').length
        const before = reloads()
        await writeFile(join(folder, place), text)
        await until('the running one has taken it up', () => reloads() > before)
      })
      continue
    }
    for (const line of text.trim().split('\n')) {
      const wanted = seen[line]
      if (wanted === undefined) continue
      test(line, async (context) => {
        const ran = await typed(context, line)
        equal(ran.code, 0, ran.stderr)
        match(ran.stdout, wanted)
      })
    }
  }

  /** A line of the README with Sluice's own program for `npx sluice`, which costs a second more each time. */
  function typed(context: Scope, line: string): Promise<Ran> {
    const script = line.replace('npx sluice', '"$0" bin/sluice.js')
    return ended(run(context, 'bash', ['-c', script, process.execPath], { cwd: folder, env: plainEnvironment() }))
  }

  test('npx sluice finds this folder’s program and its Node, whichever Node is first on the PATH', async (context) => {
    // npm test puts node_modules/.bin first; a newcomer's shell does not.
    const path = (process.env['PATH'] ?? '').split(delimiter).filter((entry) => !entry.includes('node_modules'))
    const env = { PATH: path.join(delimiter), HOME: join(folder, 'home'), npm_config_offline: 'true' }
    for (const script of ['npx sluice check', 'node bin/sluice.js check', 'npm run --silent sluice -- check']) {
      const ran = await ended(run(context, 'bash', ['-c', script], { cwd: folder, env }))
      equal(ran.code, 0, ran.stderr)
      match(ran.stdout, /^fine: /, script)
    }
  })

  test('what ran all the while took up the new files, and ends with 0', async () => {
    equal(await running.stop(), 0, running.output())
  })
})

test('beside a Mosquitto, by the text: the first message comes out, the second waits and goes in', async (context) => {
  const [folder, broker, redis] = await Promise.all([cloned(context), startMosquitto(context), startRedis(context)])
  const config = parse(await readFile(join(root, 'sluice.yaml'), 'utf8')) as Record<string, unknown>
  const listen = { http: { port: await freePort() } }
  let places = 0
  let running: Running | undefined
  for (const { language, text } of blocksBeside) {
    if (language === 'yaml') {
      const place = placesBeside[places++]
      const own = text
        .replace('127.0.0.1:1883', `127.0.0.1:${broker.port}`)
        .replace('redis://127.0.0.1:6379', redis.url)
      if (place === undefined)
        await writeFiles(folder, {
          'sluice.yaml': { ...config, ...(parse(own) as object), listen, log: { level: 'debug' } },
        })
      else await writeFiles(folder, { [place]: own })
      continue
    }
    for (const line of text.trim().split('\n')) {
      if (line === 'npm start') {
        running = sluice(context, join(folder, 'sluice.yaml'), ['start'], { cwd: folder })
        const started = running
        await ready(started, 3)
        await until('the bridge has subscribed', () => logLines(started).some(({ msg }) => msg === 'subscribed'))
        continue
      }
      if (line.includes('replay')) await makeKnown(running)
      const script = line
        .replace('npx sluice', '"$0" bin/sluice.js')
        .replace('mosquitto_pub', `mosquitto_pub -p ${broker.port}`)
      const typedIn = async (): Promise<string> => {
        const env = plainEnvironment()
        const ran = await ended(run(context, 'bash', ['-c', script, process.execPath], { cwd: folder, env }))
        equal(ran.code, 0, `${line}: ${ran.stderr}`)
        return ran.stdout
      }
      const wanted = seenBeside[line] ?? /^ $/
      // What was published is there when the broker has handed it on, and the next command may be quicker.
      if (line.includes(' ls ')) await until(line, async () => wanted.test(await typedIn()), 20_000)
      else match(await typedIn(), wanted, line)
    }
  }
  const archive = async () => readFile(join(folder, 'data', 'archive.ndjson'), 'utf8').catch(() => '')
  await until('both have come out', async () => (await archive()) === '{"celsius":21}\n{"celsius":22}\n')
  equal(await running?.stop(), 0)

  async function makeKnown(started: Running | undefined): Promise<void> {
    const reloads = () =>
      started === undefined
        ? 0
        : logLines(started).filter(({ msg }) => msg === 'rules and identities are in force').length
    const before = reloads()
    const file = join(folder, 'identity', 'devices.yaml')
    const things = await readFile(file, 'utf8')
    await writeFile(
      file,
      things.replace('groups: [devices] }', 'groups: [devices] }\n  - { name: dev-2, groups: [devices] }'),
    )
    await until('it is in force', () => reloads() > before)
  }
})
