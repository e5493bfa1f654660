import { mkdir, writeFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import type { Command } from 'commander'
import { SluiceError } from '../core/errors.ts'
import { createIdentity } from '../identity/new-identity.ts'
import { readWithoutSecrets } from './context.ts'

const collect = (value: string, before: readonly string[]): readonly string[] => [...before, value]

export function addIdentity(program: Command): void {
  const identity = program.command('identity').description('manage who may come in')
  identity
    .command('new <name>')
    .description('make a principal with a new token; the token is printed once and stands in no file')
    .option('--thing <thing>', 'the thing it is attached to; registered where it is not yet')
    .option('--policy <policy>', 'a policy of identity/; may be given several times', collect, [])
    .option('--json', 'print one JSON document')
    .action(async (name: string, options: { thing?: string; policy: readonly string[]; json?: true }) => {
      const { directory, settings } = await readWithoutSecrets(program)
      const { token, yaml } = createIdentity({
        name,
        policies: options.policy,
        directory,
        ...(options.thing !== undefined && { thing: options.thing }),
      })
      // A colon is fine in a principal's name and not in a file's name everywhere.
      const file = join(settings.identity, `${name.replaceAll(':', '_')}.yaml`)
      await mkdir(settings.identity, { recursive: true })
      await writeFile(file, yaml, { flag: 'wx' }).catch((error: NodeJS.ErrnoException) => {
        throw new SluiceError('WRONG_USE', `${file} cannot be written (${error.code ?? 'error'}); nothing was made`)
      })
      if (options.json) return console.log(JSON.stringify({ name, token, file }))
      console.log(
        `${relative(process.cwd(), file)} holds the principal ${name}. Its token, shown this once:\n\n  ${token}\n`,
      )
      if (options.policy.length === 0)
        console.log('It has no policy of its own yet, so it may do nothing: add one, or use --policy.')
    })
}
