import { deepEqual, equal, match } from 'node:assert/strict'
import { cp, readFile, symlink, writeFile } from 'node:fs/promises'
import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { describe, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { parse, stringify } from 'yaml'
import { freePort, type Scope, temporaryFolder, until } from './support/cleanup.ts'
import { command, ended, type Ran, suiteScope } from './support/command.ts'
import { run, type Running } from './support/process.ts'
import { logLines, plainEnvironment, ready, sluice, writeFiles } from './support/sluice.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const readme = await readFile(join(root, 'README.md'), 'utf8')

interface Block {
  readonly language: string
  readonly text: string
}
const blocks: readonly Block[] = [...readme.matchAll(/^```(?<language>\w+)\n(?<text>[^]*?)^```$/gm)].map(
  ({ groups }) => ({ language: groups?.['language'] ?? '', text: groups?.['text'] ?? '' }),
)

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
  'npx sluice pki issue d-17 --thing d-17 --policy telemetry': /identity\/d-17\.yaml/,
  'npx sluice identity new d-18 --thing d-18 --policy telemetry': /^identity\/d-18\.yaml holds [^]*\n {2}slc_/,
  'npx sluice policy simulate --principal d-17 --action iot:Publish --resource things/d-17/climate':
    /^allow[^]*telemetry/,
}

/** Where the text says that a YAML block is to be written; the one without a place is a part of sluice.yaml. */
const places: readonly (string | undefined)[] = ['rules/smoke.yaml', 'workers/hook.yaml', undefined]

test('README.md holds no command and no YAML that these tests don’t know', () => {
  const commands = blocks.filter(({ language }) => language === 'sh').flatMap(({ text }) => text.trim().split('\n'))
  deepEqual(
    new Set(commands),
    new Set([...Object.keys(elsewhere), ...Object.keys(seen)]),
    'a new command needs a line in one of the tables above',
  )
  for (const proof of Object.values(elsewhere)) equal(existsSync(join(root, proof)), true, proof)
  equal(blocks.filter(({ language }) => language === 'yaml').length, places.length)
  for (const place of places.filter((known) => known !== undefined))
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

describe('the commands of README.md, in a folder as a clone has it', () => {
  const scope = suiteScope()
  let folder = ''
  let running: Running

  before(async () => {
    folder = await temporaryFolder(scope)
    for (const name of ['bin', 'src', 'rules', 'workers', 'identity', 'package.json'])
      await cp(join(root, name), join(folder, name), {
        recursive: true,
        filter: (source) => !source.endsWith('try-out.yaml'),
      })
    await symlink(join(root, 'node_modules'), join(folder, 'node_modules'))
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

  test('the part of sluice.yaml for a broker of one’s own passes `check`', async (context) => {
    const fragment = blocks.filter(({ language }) => language === 'yaml')[places.indexOf(undefined)]?.text ?? ''
    match(fragment, /\$\{file:\/run\/secrets\/bridge-password\}/)
    await writeFiles(folder, { 'bridge-password': 'a stand-in' })
    const config = parse(await readFile(join(folder, 'sluice.yaml'), 'utf8')) as {
      listen: { mqtt?: unknown; mqtts?: unknown }
    }
    delete config.listen.mqtt
    delete config.listen.mqtts
    const part = parse(fragment.replace('/run/secrets/', './')) as Record<string, unknown>
    await writeFiles(folder, { 'beside.yaml': stringify({ ...config, ...part, data: './elsewhere' }) })
    const ran = await command(context, folder, ['check', '--config', 'beside.yaml'])
    deepEqual([ran.code, ran.stderr], [0, ''])
    match(ran.stdout, /^fine: /)
  })

  test('what ran all the while took up the new files, and ends with 0', async () => {
    equal(await running.stop(), 0, running.output())
  })
})
