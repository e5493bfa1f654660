import { mkdir, writeFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import type { Command } from 'commander'
import type { Directory } from '../core/directory.ts'
import { SluiceError } from '../core/errors.ts'
import { createIdentity } from '../identity/new-identity.ts'
import { readWithoutSecrets } from './context.ts'

interface Options {
  readonly thing?: string
  readonly policy: readonly string[]
  readonly json?: true
}

const collect = (value: string, before: readonly string[]): readonly string[] => [...before, value]

export function addIdentity(program: Command): void {
  const identity = program.command('identity').description('manage who may come in')
  identity
    .command('new <name>')
    .description('make a principal with a new token; the token is printed once and stands in no file')
    .option('--thing <thing>', 'the thing it is attached to; registered where it is not yet')
    .option('--policy <policy>', 'a policy of identity/; may be given several times', collect, [])
    .option('--json', 'print one JSON document')
    .action(async (name: string, options: Options) => {
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
        const because = error.code === 'EEXIST' ? 'is there already' : `cannot be written (${error.code ?? 'error'})`
        throw new SluiceError('WRONG_USE', `${file} ${because}; nothing was made`)
      })
      if (options.json) return console.log(JSON.stringify({ name, token, file }))
      const shown = relative(process.cwd(), file)
      console.log(`${shown} holds the principal ${name}. Its token, shown this once:\n\n  ${token}\n`)
      console.log(`HTTP: the header "Authorization: Bearer TOKEN". MQTT: user name ${name}, the token as password.`)
      console.log('A running Sluice takes it up within seconds.')
      if (!mayAnything(directory, options))
        console.log(`It has no policy yet, so it may do nothing: add "policies: […]" in ${shown}.`)
    })
}

/** Whether any policy is attached: its own, or through a thing that is registered already. */
function mayAnything(directory: Directory, { thing, policy }: Pick<Options, 'thing' | 'policy'>): boolean {
  if (policy.length > 0) return true
  const known = thing === undefined ? undefined : directory.things.get(thing)
  return known !== undefined && (known.policies.length > 0 || known.groups.length > 0)
}
