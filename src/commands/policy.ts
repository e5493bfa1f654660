import { type Command, Option } from 'commander'
import { type EffectivePolicy, effectivePolicies, simulate, type Simulated } from '../app/simulate.ts'
import { simulateVia, type SimulatedVia } from '../app/simulate-via.ts'
import type { Protocol } from '../core/access.ts'
import { SluiceError } from '../core/errors.ts'
import { formatPosition } from '../core/problem.ts'
import { ask, readWithoutSecrets } from './context.ts'
import { countOf, paint, printTable } from './output.ts'

interface SimulateOptions {
  readonly principal?: string
  readonly via?: string
  readonly thing?: string
  readonly action: string
  readonly resource: string
  readonly clientId?: string
  readonly sourceIp?: string
  readonly protocol: Protocol
  readonly retain?: true
  readonly serverName?: string
  readonly json?: true
}

/** Policies that AWS attaches to one principal at most. */
const policiesAtAws = 10

export function addPolicy(program: Command): void {
  const policy = program.command('policy').description('what policies allow, by the files of identity/')
  policy
    .command('simulate')
    .description('decide as a door would, and say which statement decided; exit code 0 allow, 1 deny')
    .option(
      '--principal <principal>',
      'who asks: a principal of identity/, bridge:NAME, or the fingerprint of a certificate that a running ingest knows',
      principalOrFingerprint,
    )
    .option('--via <speaker>', 'instead: bridge:NAME, or a principal with actsFor, that hands a message of a thing in')
    .option(
      '--thing <thing>',
      "with --via, whose message it is; by default what the bridge's thing: makes of the topic",
    )
    .requiredOption('--action <action>', 'iot:Publish, iot:Subscribe, …')
    .requiredOption('--resource <resource>', 'a whole ARN, or the topic, filter, client id or thing alone')
    .option('--client-id <id>', "over MQTT; by default the name of the principal's thing")
    .option('--source-ip <address>', 'where the client is')
    .addOption(new Option('--protocol <protocol>', 'the door').choices(['mqtt', 'mqtt-ws', 'http']).default('mqtt'))
    .option('--retain', 'the message is retained: iot:RetainPublish must be allowed as well')
    .option('--server-name <host>', 'the host name that the client connects to (iot:DomainName)')
    .option('--json', 'print one JSON document')
    .action(async ({ json, retain, ...options }: SimulateOptions) => {
      const asked = { ...options, retain: retain === true, now: Date.now() }
      const answer = await answerTo(program, asked)
      if (answer.decision === 'deny') process.exitCode = 1
      if (json) return console.log(JSON.stringify(answer, undefined, 2))
      if ('via' in answer) printVia(answer)
      else printSimulated(answer, options.principal ?? '', options.protocol)
    })
  policy
    .command('effective')
    .description('the policies in force for a principal, and through what')
    .requiredOption(
      '--principal <principal>',
      'a principal of identity/, bridge:NAME, or the fingerprint of a certificate that a running ingest knows',
      principalOrFingerprint,
    )
    .option('--json', 'print one JSON document')
    .action(async ({ principal, json }: { principal: string; json?: true }) => {
      const policies = isFingerprint(principal)
        ? ((await ask(program, 'GET', `/policy/effective/${principal}`)) as readonly EffectivePolicy[])
        : effectivePolicies(await readWithoutSecrets(program), principal)
      if (json) return console.log(JSON.stringify(policies, undefined, 2))
      if (policies.length === 0) return console.log('no policy is attached, so everything is denied')
      printTable(policies.map(({ name, through, position }) => [name, through.join('; '), formatPosition(position)]))
      for (const { name, notes } of policies)
        for (const { path, message } of notes)
          console.log(paint('yellow', `note: ${name}${path === '' ? '' : `, ${path}`}: ${message}`))
      if (policies.length > policiesAtAws) {
        const message = `${countOf(policies.length, 'policy', 'policies')}; AWS attaches at most ${policiesAtAws} to one principal`
        console.log(paint('yellow', `note: ${message}`))
      }
    })
}

/** A fingerprint as openssl prints it is taken, too. */
function principalOrFingerprint(text: string): string {
  const plain = text.replaceAll(':', '').toLowerCase()
  return isFingerprint(plain) ? plain : text
}

/** A certificate that has registered itself is a principal by its fingerprint, and only a running ingest knows it. */
function isFingerprint(principal: string): boolean {
  return /^[\da-f]{64}$/.test(principal)
}

type Asked = Omit<SimulateOptions, 'json' | 'retain'> & { readonly retain: boolean; readonly now: number }

async function answerTo(program: Command, asked: Asked): Promise<Simulated | SimulatedVia> {
  const { principal, via, thing } = asked
  if (principal !== undefined && via === undefined && thing === undefined) {
    const simulation = { ...asked, principal }
    if (isFingerprint(principal)) return (await ask(program, 'POST', '/policy/simulate', simulation)) as Simulated
    return simulate(await readWithoutSecrets(program), simulation)
  }
  if (via === undefined || principal !== undefined)
    throw new SluiceError('WRONG_USE', 'say who asks: --principal NAME, or --via NAME with the --thing it speaks for')
  const simulation = { ...asked, via }
  const answer = await simulateVia(await readWithoutSecrets(program), simulation)
  // A thing may have registered itself: only a running ingest knows.
  if (answer.reason !== 'unknown-thing') return answer
  return ask(program, 'POST', '/policy/simulate', simulation).then(
    (asRunning) => asRunning as SimulatedVia,
    () => answer,
  )
}

function printVia({ decision, resource, thing, via, reason, because }: SimulatedVia): void {
  console.log(`${paint(decision === 'allow' ? 'green' : 'red', decision)}  iot:Publish ${resource}`)
  console.log(`       ${thing === undefined ? '' : `thing ${thing} `}via ${via}`)
  console.log(`       ${reason === undefined ? '' : `${reason}: `}${because}`)
}

function printSimulated(simulated: Simulated, principal: string, protocol: Protocol): void {
  const { decision, action, resource, clientId, statement, because, missingContextValues } = simulated
  console.log(`${paint(decision === 'allow' ? 'green' : 'red', decision)}  ${action} ${resource}`)
  const client = clientId === undefined ? '' : ` as client ${clientId}`
  console.log(`       ${principal} over ${protocol}${client}`)
  if (statement === undefined) console.log(`       ${because}`)
  else {
    const { policy, number } = statement
    const does = decision === 'allow' ? 'allows' : 'denies'
    console.log(`       statement ${number} of policy ${policy} ${does} it (${formatPosition(statement)})`)
  }
  if (missingContextValues.length > 0) console.log(`       without a value: ${missingContextValues.join(', ')}`)
}
