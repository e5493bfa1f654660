import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { readIdentityFiles } from '../../src/config/identity-files.ts'
import { password } from '../../src/identity/password.ts'
import { createRegistry } from '../../src/identity/registry.ts'
import { authContext } from '../support/auth-context.ts'
import { type Scope, temporaryFolder } from '../support/cleanup.ts'
import { ended } from '../support/command.ts'
import { run } from '../support/process.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** The command alone, in a process of its own. */
function identityPassword(scope: Scope, name: string, input: string) {
  const program = `import { Command } from 'commander'
    import { addPassword } from './src/commands/password.ts'
    const program = new Command()
    addPassword(program)
    await program.parseAsync(['identity', 'password', ${JSON.stringify(name)}], { from: 'user' })`
  return ended(run(scope, process.execPath, ['--input-type=module', '--eval', program], { cwd: root, input }))
}

describe('sluice identity password', () => {
  it('prints an entry that lets in whoever knows the password, and the password nowhere', async (t) => {
    const { code, stdout, stderr } = await identityPassword(t, 'plant:7', 'correct horse battery\n')
    assert.equal(code, 0, stderr)
    assert.ok(!`${stdout}${stderr}`.includes('correct horse'))
    assert.match(stderr, /identity\/[^]*colon/)

    const folder = await temporaryFolder(t)
    await writeFile(join(folder, 'plant.yaml'), stdout)
    const { problems, directory } = await readIdentityFiles({ folder, cwd: folder, shapes: [password] })
    assert.deepEqual(problems, [])
    const { authenticate } = password.open(authContext(createRegistry(directory)))
    const ask = async (text: string) =>
      (await authenticate({ protocol: 'mqtt', username: 'plant:7', password: Buffer.from(text) })).kind
    assert.equal(await ask('correct horse battery'), 'principal')
    assert.equal(await ask('correct horse battery\n'), 'refused')
  })

  it('refuses a name that is none and a password that is too short', async (t) => {
    const nameless = await identityPassword(t, 'two words', 'correct horse battery')
    assert.match(nameless.stderr, /visible ASCII/)
    const short = await identityPassword(t, 'plant', 'short\r\n')
    assert.match(short.stderr, /a password has 8 to 1024 bytes, and this has 5/)
    assert.equal(short.stdout, '')
  })
})
