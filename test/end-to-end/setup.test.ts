import { deepEqual, doesNotMatch, equal, match, ok } from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createHash, X509Certificate } from 'node:crypto'
import { chown, cp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Redis } from 'ioredis'
import { temporaryFolder } from '../support/cleanup.ts'
import { suiteScope } from '../support/command.ts'
import { startRedis } from '../support/redis.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

describe('deploy/setup.js', () => {
  const scope = suiteScope()
  const setup = (folder: string, hosts = '', parameters: readonly string[] = []) =>
    execFileSync(process.execPath, [join(root, 'deploy/setup.js'), folder, `--host=${hosts}`, ...parameters], {
      encoding: 'utf8',
      stdio: 'pipe',
    })
  /** What it says when it refuses. */
  const complaint = (...parameters: Parameters<typeof setup>): string => {
    try {
      setup(...parameters)
    } catch (error) {
      return String((error as { readonly stderr?: unknown }).stderr)
    }
    return 'nothing'
  }
  const readAll = async (folder: string) => {
    const names = (await readdir(folder, { recursive: true, withFileTypes: true }))
      .filter((entry) => entry.isFile() && entry.name !== 'openssl.cnf')
      .map(({ parentPath, name }) => join(parentPath, name))
    return Object.fromEntries(
      await Promise.all(names.map(async (name) => [name.slice(folder.length + 1), await readFile(name, 'utf8')])),
    ) as Record<string, string>
  }
  const changed = (from: Record<string, string>, to: Record<string, string>) =>
    Object.keys({ ...from, ...to })
      .filter((name) => from[name] !== to[name])
      .toSorted()

  test('leaves what is there, makes servers’ certificates anew for a new name, and one more device when asked', async () => {
    const folder = await temporaryFolder(scope)
    setup(folder)
    const first = await readAll(folder)
    setup(folder)
    deepEqual(changed(first, await readAll(folder)), [])

    setup(folder, 'iot.example.com, 10.0.0.9')
    const named = await readAll(folder)
    const outside = ['ingest/ingest-rsa.crt', 'ingest/ingest.crt', 'mosquitto/mosquitto.crt']
    deepEqual(changed(first, named), outside)
    for (const file of outside) {
      const certificate = new X509Certificate(named[file] ?? '')
      ok(
        certificate.checkHost('iot.example.com') &&
          certificate.checkIP('10.0.0.9') &&
          certificate.checkHost('localhost'),
      )
    }

    match(
      setup(folder, '', ['--device', 'd-2']),
      /name: d-2, thing: d-2, x509: \{ certificate: \/device-certs\/d-2\.crt/,
    )
    const more = ['device-certs/d-2.crt', 'devices/d-2.key', 'devices/d-2.password', 'mosquitto/passwords']
    const two = await readAll(folder)
    deepEqual(changed(named, two), more)

    // Their secrets are with the devices now, and stay as they are there.
    await rm(join(folder, 'devices'), { recursive: true })
    setup(folder)
    const secrets = Object.keys(two).filter((name) => name.startsWith('devices/'))
    deepEqual(changed(two, await readAll(folder)), secrets.toSorted())
  })

  test('goes on without the CA’s key as long as nothing is to be signed, and never makes another', async () => {
    const folder = await temporaryFolder(scope)
    setup(folder)
    const before = await readAll(folder)
    await rm(join(folder, 'ca/ca.key'))
    setup(folder)
    deepEqual(changed(before, await readAll(folder)), ['ca/ca.key'])
    match(complaint(folder, 'iot.example.com'), /ca\.key is not there/)
    deepEqual(changed(before, await readAll(folder)), ['ca/ca.key'])
  })

  test('another CA in the place of the first makes servers’ certificates anew, and so does a key that is gone', async () => {
    const [folder, other] = [await temporaryFolder(scope), await temporaryFolder(scope)]
    setup(folder)
    setup(other)
    for (const file of ['ca/ca.key', 'certs/ca.crt']) {
      await rm(join(folder, file))
      await cp(join(other, file), join(folder, file))
    }
    const before = await readAll(folder)
    setup(folder)
    const servers = ['ingest/ingest-rsa.crt', 'ingest/ingest.crt', 'mosquitto/mosquitto.crt', 'redis/redis.crt']
    const next = await readAll(folder)
    deepEqual(changed(before, next), servers)
    const ca = new X509Certificate(next['certs/ca.crt'] ?? '')
    for (const file of servers) ok(new X509Certificate(next[file] ?? '').verify(ca.publicKey), file)

    await rm(join(folder, 'redis/redis.key'))
    setup(folder)
    deepEqual(changed(next, await readAll(folder)), ['redis/redis.crt', 'redis/redis.key'])
  })

  test('takes no name that means something else', async () => {
    const folder = await temporaryFolder(scope)
    for (const host of ['a/b', '*', '*.example.com', 'a,DNS:b\n[x]'])
      match(complaint(folder, host), /neither a host name nor an address/, host)
    for (const name of ['../x', 'a=b', 'd:1', ''])
      match(complaint(folder, '', [`--device=${name}`]), /has 1 to 64/, name)
    match(complaint(folder, '', ['--device', 'sluice']), /a part of this system/)
    deepEqual(await readdir(folder), [])
  })

  test('names what it made where the user finds it, and says once what to do next', async () => {
    const folder = await temporaryFolder(scope)
    const first = setup(folder, '', ['--shown=deploy/generated'])
    doesNotMatch(first, new RegExp(folder))
    match(first, /^secrets and certificates are in deploy\/generated$/m)
    match(first, /^ {2}curl .*--key deploy\/generated\/devices\/d-1\.key/m)
    equal(setup(folder, '', ['--shown=deploy/generated']), 'secrets and certificates are in deploy/generated\n')
    match(setup(folder, '', ['--device=d-2']), /^ {2}mosquitto_pub -p 8883 -u d-2 /m)
    match(setup(folder, 'iot.example.com'), /mosquitto\.crt is renewed: .*docker compose restart mosquitto$/m)
  })
})

const isRoot = process.getuid?.() === 0

describe('who may read what deploy/setup.js makes', () => {
  const scope = suiteScope()
  const setup = (folder: string, mask = '022', ...parameters: readonly string[]) =>
    execFileSync(
      'sh',
      [
        '-c',
        `umask ${mask} && exec "$@"`,
        'sh',
        process.execPath,
        join(root, 'deploy/setup.js'),
        folder,
        ...parameters,
      ],
      {
        encoding: 'utf8',
        stdio: 'pipe',
      },
    )
  const modes = async (folder: string) => {
    const entries = await readdir(folder, { recursive: true, withFileTypes: true })
    const rows = entries.map(async (entry) => {
      const path = join(entry.parentPath, entry.name)
      const { mode, uid, gid } = await stat(path)
      return [path.slice(folder.length + 1), { mode: (mode & 0o777).toString(8), owner: `${uid}:${gid}` }] as const
    })
    return Object.fromEntries(await Promise.all(rows))
  }

  test('under any umask, and in a checkout that was made under one, the containers may pass and nobody reads a key', async () => {
    const folder = await temporaryFolder(scope)
    // As git leaves it under umask 077.
    execFileSync('sh', ['-c', 'umask 077 && mkdir -p redis certs ingest', 'sh'], { cwd: folder })
    setup(folder, '077')
    for (const [path, { mode }] of Object.entries(await modes(folder))) {
      const expected = path.endsWith('.crt')
        ? '644'
        : /\.|\/(?:.*-password|passwords|.*-secret)$/.test(path)
          ? '400'
          : undefined
      if (expected !== undefined) equal(mode, expected, path)
      else if (!/^(?:ca|devices)$/.test(path)) equal(mode, '755', path)
    }
  })

  test(
    'each file belongs to the container that reads it, and a device’s to whoever has the checkout',
    { skip: !isRoot },
    async () => {
      const folder = await temporaryFolder(scope)
      await chown(folder, 1234, 1235)
      setup(folder)
      const owners = async () =>
        Object.fromEntries(
          Object.entries(await modes(folder)).flatMap(([path, { owner }]) =>
            /[./-]/.test(path) && path.includes('/') ? [[path, owner]] : [],
          ),
        )
      const made = await owners()
      for (const [path, owner] of Object.entries({
        'devices/d-1.key': '1234:1235',
        'devices/d-1.password': '1234:1235',
        'ca/ca.key': '0:0',
        'redis/users.acl': '999:999',
        'redis/redis.key': '999:999',
        'mosquitto/passwords': '1883:1883',
        'ingest/ingest.key': '1000:1000',
        'alerts/redis-password': '1000:1000',
      }))
        equal(made[path], owner, path)
      // What somebody puts there is the container's, whatever they forget.
      await writeFile(join(folder, 'alerts/own-secret'), 'x', { mode: 0o644 })
      // As a copy of the checkout has them.
      execFileSync('chown', ['-R', '1234:1235', folder])
      execFileSync('chmod', ['-R', 'u=rwX,go=', folder])
      setup(folder)
      const { 'ca/openssl.cnf': _, ...again } = await owners()
      for (const [path, owner] of Object.entries(again)) equal(owner, made[path] ?? '1000:1000', path)
      equal((await modes(folder))['alerts/own-secret']?.mode, '400')
    },
  )

  test('a file of the checkout that a container can’t read is named, with what to do', { skip: !isRoot }, async () => {
    const folder = await temporaryFolder(scope)
    const deploy = join(folder, 'deploy')
    await cp(join(root, 'deploy'), deploy, { recursive: true, filter: (path) => !path.includes('generated') })
    execFileSync('chmod', ['755', folder])
    const parameters = [`--deploy=${deploy}`, '--shown=deploy/generated'] as const
    execFileSync('chmod', ['-R', 'u=rwX,go=', join(deploy, 'mosquitto'), join(deploy, 'sqs/init.json')])
    let said = ''
    try {
      setup(join(folder, 'generated'), '022', ...parameters)
    } catch (error) {
      said = String((error as { readonly stderr?: unknown }).stderr)
    }
    match(said, /^ {2}deploy\/mosquitto {3}\(uid 1883\)$/m)
    match(said, /^ {2}deploy\/sqs\/init\.json {3}\(uid 1000\)$/m)
    const [advice] = /^ {2}chmod .*$/m.exec(said) ?? []
    execFileSync('sh', ['-c', advice ?? 'false'], { cwd: folder })
    match(
      setup(join(folder, 'generated'), '022', ...parameters),
      /^secrets and certificates are in deploy\/generated$/m,
    )
  })
})

describe('the users file of an installed Redis', () => {
  const scope = suiteScope()
  const setup = (folder: string) =>
    execFileSync(process.execPath, [join(root, 'deploy/setup.js'), folder], { encoding: 'utf8', stdio: 'pipe' })
  const hash = (password: string) => `#${createHash('sha256').update(password).digest('hex')}`

  test('follows the template, keeps its passwords and what was added by hand, and is a file that Redis takes', async () => {
    const folder = await temporaryFolder(scope)
    const file = join(folder, 'redis/users.acl')
    setup(folder)
    const first = await readFile(file, 'utf8')
    match(first, /^user default off ~\* &\* \+@all\nuser ingest on #[0-9a-f]{64} [^\n]* \+acl\|dryrun /)

    // As an older Sluice made it, and somebody changed it: `fsync`, a second password, a worker locked out, one more worker and a user.
    await rm(join(folder, 'redis/users.template'))
    const lake = (first.split('\n').find((line) => line.startsWith('user archive ')) ?? '').replaceAll(
      'archive',
      'lake',
    )
    const admin = `user admin on ${hash('admin')} ~* &* +@all`
    const old = [
      ...first
        .trim()
        .replace('user default off ~* &* +@all', 'user default off')
        .replace(' +acl|dryrun', '')
        .replace(' (~{', ' +config|get (~{')
        .replace('user archive on ', 'user archive off ')
        .replace('user alerts on ', `user alerts on ${hash('next')} `)
        .replaceAll(' +lindex', '')
        .split('\n'),
      lake.replace(/ #[0-9a-f]+ /, ` ${hash('of lake')} `).replace(' +lindex', ''),
      admin,
    ]
    await writeFile(file, `${old.join('\n')}\n`)
    const said = setup(folder)
    match(said, /users\.acl has changed: .*docker compose restart redis$/m)
    match(said, /ingest keeps \+config\|get, which the template does not have/)
    const after = await readFile(file, 'utf8')
    const expected = first
      .trim()
      .replace(/^(user ingest .*)$/m, '$1 +config|get')
      .replace('user archive on ', 'user archive off ')
      .replace('user alerts on ', `user alerts on ${hash('next')} `)
    deepEqual(after.trim().split('\n'), [
      ...expected.split('\n'),
      lake.replace(/ #[0-9a-f]+ /, ` ${hash('of lake')} `),
      admin,
    ])
    doesNotMatch(setup(folder), /changed/)
    equal(await readFile(file, 'utf8'), after)
    deepEqual((await readdir(join(folder, 'redis'))).toSorted(), [
      'redis.crt',
      'redis.key',
      'users.acl',
      'users.template',
    ])

    const server = await startRedis(scope, { parameters: ['--aclfile', file] })
    const password = (await readFile(join(folder, 'ingest/redis-password'), 'utf8')).trim()
    for (const [username, own] of [
      ['ingest', password],
      ['alerts', 'next'],
      ['lake', 'of lake'],
      ['admin', 'admin'],
    ] as const) {
      const redis = new Redis({ port: server.port, username, password: own, disableClientInfo: true })
      equal(await redis.ping(), 'PONG', username)
      redis.disconnect()
    }
  })

  test('gets a user for each worker that there is a file for', async () => {
    const folder = await temporaryFolder(scope)
    const deploy = join(folder, 'deploy')
    await cp(join(root, 'deploy'), deploy, { recursive: true, filter: (path) => !path.includes('generated') })
    await writeFile(join(deploy, 'sluice/workers/x.yaml'), 'kind: log\nname: lake # by the lake\n')
    const generated = join(folder, 'generated')
    execFileSync(process.execPath, [join(deploy, 'setup.js'), generated], { stdio: 'pipe' })
    const users = await readFile(join(generated, 'redis/users.acl'), 'utf8')
    const password = (await readFile(join(generated, 'lake/redis-password'), 'utf8')).trim()
    deepEqual(
      users.split('\n').map((line) => line.split(' ')[1]),
      ['default', 'ingest', 'alerts', 'archive', 'lake', undefined],
    )
    match(users, new RegExp(`^user lake on ${hash(password)} resetchannels -@all ~\\{sluice:lake\\}:lake:\\* `, 'm'))
  })

  test('follows a template that takes a right away, and a password that is another', async () => {
    const folder = await temporaryFolder(scope)
    const file = join(folder, 'redis/users.acl')
    setup(folder)
    const before = await readFile(file, 'utf8')
    // The template was another when this file was made.
    const applied = join(folder, 'redis/users.template')
    const template = await readFile(applied, 'utf8')
    await rm(applied)
    await writeFile(applied, template.replace(/^(user worker .*)$/m, '$1 +flushall'))
    await writeFile(file, before.replaceAll(/^(user a\w+ .*)$/gm, '$1 +flushall'))
    setup(folder)
    equal(await readFile(file, 'utf8'), before)

    await rm(join(folder, 'alerts/redis-password'))
    await writeFile(join(folder, 'alerts/redis-password'), 'another')
    setup(folder)
    equal(
      await readFile(file, 'utf8'),
      before.replace(/^user alerts on #[0-9a-f]+/m, `user alerts on ${hash('another')}`),
    )
  })
})
