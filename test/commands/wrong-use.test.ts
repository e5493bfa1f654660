import { deepEqual, match } from 'node:assert/strict'
import { describe, test } from 'node:test'
import { temporaryFolder } from '../support/cleanup.ts'
import { command } from '../support/command.ts'
import { writeFiles } from '../support/sluice.ts'

// Exit codes: 0 fine, 1 problems found or failed, 2 wrong use.
const cases: readonly {
  readonly parameters: string
  readonly code: number
  readonly says: RegExp
}[] = [
  { parameters: '', code: 2, says: /^Usage: sluice/ },
  { parameters: '--help', code: 0, says: /dead-letters[^]*Exit codes: 0 fine, 1 [^]*2 wrong use/ },
  { parameters: '--version', code: 0, says: /^\d+\.\d+\.\d+\n$/ },
  { parameters: 'chek', code: 2, says: /unknown command 'chek'\n\(Did you mean check\?\)\n\(add --help/ },
  { parameters: 'dead-letters lst', code: 2, says: /unknown command 'lst'\n\(Did you mean ls\?\)/ },
  { parameters: 'check --jsno', code: 2, says: /unknown option '--jsno'\n\(Did you mean --json\?\)/ },
  { parameters: 'check --help', code: 0, says: /Global Options:[\s\S]*--config/ },
  { parameters: 'start now', code: 2, says: /too many arguments/ },
  { parameters: 'worker', code: 2, says: /missing required argument 'name'/ },
  { parameters: 'publish a x --qos 2', code: 2, says: /Allowed choices are 0, 1/ },
  { parameters: 'certificates ls --status revokd', code: 2, says: /It must be one of ACTIVE, INACTIVE, / },
  { parameters: 'publish a x --wait soon', code: 2, says: /It must be a number, 0 or more/ },
  {
    parameters: 'publish a x --token-file none --url http://127.0.0.1',
    code: 2,
    says: /token file none cannot be read \(ENOENT\)/,
  },
  {
    parameters: 'publish a/../b x --token-file token --url http://127.0.0.1',
    code: 2,
    says: /".." cannot stand in a URL/,
  },
  { parameters: 'dead-letters replay', code: 2, says: /say which: "sluice dead-letters replay ID", or --all/ },
  { parameters: 'explain overheatin', code: 2, says: /no rule "overheatin"; there are: overheating/ },
  { parameters: 'test nowhere', code: 2, says: /there is no file or folder nowhere/ },
  { parameters: 'eval --rule nowhere.yaml', code: 2, says: /there is no file or folder nowhere\.yaml/ },
  { parameters: 'eval --where a=(', code: 2, says: /^sluice: --where at character \d+: / },
  { parameters: 'eval --from a/#/b --where true', code: 2, says: /--from: "#" must be the whole last level/ },
  { parameters: 'identity new d --policy nope', code: 2, says: /there is no policy "nope" in identity\// },
  { parameters: 'identity new a/b', code: 2, says: /"a\/b" is not a principal name here: use letters/ },
  { parameters: 'identity new taken', code: 2, says: /identity\/taken\.yaml is there already; nothing was made/ },

  // A file that isn't there, and a worker that isn't, are problems of the configuration.
  {
    parameters: '--config elsewhere/s.yaml check',
    code: 1,
    says: /^elsewhere\/s\.yaml:1:1: .*there is no such file; say --config FILE/,
  },
  { parameters: 'start --config s.yaml', code: 1, says: /^s\.yaml:1:1: .*there is no such file; say --config FILE/ },
  { parameters: 'worker alrets', code: 1, says: /no file here is of a worker named "alrets"; did you mean "alerts"\?/ },

  // Nobody is running: one sentence, and what to do.
  ...[
    'status',
    'health',
    'reload',
    'dead-letters ls',

    'publish a x',
  ].map((parameters) => ({
    parameters,
    code: 1,
    says: /^sluice: no running Sluice answers at .*; start one with .*\n$/,
  })),
  {
    parameters: 'publish a x --url http://127.0.0.1:0',
    code: 1,
    says: /^sluice: there is no data\/try-out\.token, .*; say whose token to use with --token-file\n$/,
  },
  {
    parameters: 'publish a x --token-file token --url http://127.0.0.1:0',
    code: 1,
    says: /^sluice: nobody answers at http:\/\/127\.0\.0\.1:0 \(.+\); is Sluice running, and is that its HTTP door\?\n$/,
  },
]

describe('exit codes and their sentences', { concurrency: 3 }, () => {
  for (const { parameters, code, says } of cases) {
    test(`sluice ${parameters} ends with ${code}`, async (context) => {
      const folder = await temporaryFolder(context)
      await writeFiles(folder, {
        'sluice.yaml': '',
        'rules/overheating.yaml': 'from: a/b\nto: [{ worker: alerts }]\n',
        'workers/alerts.yaml': 'kind: log\n',
        'identity/taken.yaml': '{}\n',
        token: 'a-token\n',
      })
      const ran = await command(context, folder, parameters.split(' ').filter(Boolean))
      match(ran.stdout + ran.stderr, says)
      deepEqual([ran.code, / {4}at .*\.(ts|js):/.test(ran.stderr)], [code, false], 'the exit code, and no stack')
    })
  }
})
