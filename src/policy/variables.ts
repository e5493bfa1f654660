import { plainAddress } from './address.ts'
import { topicArn } from './arn.ts'
import { availableKeys, certificateVariables, findCertificateVariable } from './certificate.ts'
import type { PolicyContext } from './context.ts'
import { fieldOf, textOf } from './values.ts'
import type { Variable } from './variable.ts'

function single(name: string, text: Variable['text']): Variable {
  return {
    name,
    text,
    values(context) {
      const value = text(context)
      return value === undefined ? [] : [value]
    },
  }
}

function several(name: string, values: Variable['values']): Variable {
  return { name, text: () => undefined, values }
}

function isMqtt({ protocol }: PolicyContext): boolean {
  return protocol === 'mqtt' || protocol === 'mqtt-ws'
}

/** HTTPS has no client id, whoever sets one. */
function clientId(context: PolicyContext): string | undefined {
  return isMqtt(context) && context.clientId !== '' ? textOf(context.clientId) : undefined
}

/**
 * The thing of this connection: registered, attached to the principal and, unless the principal is its alone, over MQTT with a
 * client id that is its name (AWS, "Thing policy variables").
 */
function thingName(context: PolicyContext): string | undefined {
  if (context.isAttached !== true || context.thingName === '') return undefined
  const found = context.exclusiveThing === true || (isMqtt(context) && context.clientId === context.thingName)
  return found ? textOf(context.thingName) : undefined
}

function ifThing(context: PolicyContext, value: unknown): string | undefined {
  return thingName(context) === undefined ? undefined : textOf(value)
}

function instant({ currentTime }: PolicyContext): Date | undefined {
  const date = new Date(typeof currentTime === 'number' ? currentTime : Number.NaN)
  return Number.isNaN(date.getTime()) ? undefined : date
}

/** The address as policies compare it, also by text: a dual-stack socket's `::ffff:192.0.2.1` must not pass a Deny of 192.0.2.1. */
function sourceIp(context: PolicyContext): string | undefined {
  const text = textOf(context.sourceIp)
  return text === undefined ? undefined : plainAddress(text)
}

function cameByVpc({ sourceVpc, sourceVpce }: PolicyContext): boolean {
  return textOf(sourceVpc) !== undefined || textOf(sourceVpce) !== undefined
}

/** There is a will, but without region and account nobody knows its ARN: that is a value that can't be used, not a missing key. */
const lastWillTopic: Variable = {
  name: 'iot:LastWillTopic',
  text: (context) => lastWillTopic.values(context)[0],
  values({ lastWillTopic, region, accountId }) {
    const [topic, place, account] = [textOf(lastWillTopic), textOf(region), textOf(accountId)]
    if (topic === undefined) return []
    return [place === undefined || account === undefined ? undefined : topicArn(topic, { region: place, account })]
  },
}

function identityId({ principal }: PolicyContext): string | undefined {
  const identity = textOf(fieldOf(principal, 'identityId'))
  return textOf(fieldOf(principal, 'type'))?.startsWith('cognito-') === true && identity !== '' ? identity : undefined
}

/** A name that three examples of AWS use and no list of variables has (aws-security §17.5). */
export const alias = { name: 'iot:Thing.ThingName', of: 'iot:Connection.Thing.ThingName' } as const

/** Variables whose value changes by itself while everything else stays. */
export const timeVariables: readonly string[] = ['aws:CurrentTime', 'aws:EpochTime']

const fixed: readonly Variable[] = [
  single('iot:ClientId', clientId),
  single('iot:DomainName', (context) => textOf(context.domainName)),
  single('iot:Connection.Thing.ThingName', thingName),
  single(alias.name, thingName),
  single('iot:Connection.Thing.ThingTypeName', (context) => ifThing(context, context.thingType)),
  single('iot:Connection.Thing.IsAttached', (context) => String(thingName(context) !== undefined)),
  single('iot:CertificateId', (context) => textOf(fieldOf(context.certificate, 'certificateId'))),
  single('iot:Certificate.SerialNumber', (context) => textOf(fieldOf(context.certificate, 'serialNumber'))),
  several('iot:Certificate.AvailableKeys', (context) => availableKeys(context.certificate)),
  several('iot:ConnectAttributes', ({ connectAttributes }) =>
    Array.isArray(connectAttributes) ? connectAttributes.map(textOf) : [],
  ),
  lastWillTopic,
  single('aws:SourceIp', sourceIp),
  single('aws:SourceVpc', (context) => textOf(context.sourceVpc)),
  single('aws:SourceVpce', (context) => textOf(context.sourceVpce)),
  single('aws:VpcSourceIp', (context) => (cameByVpc(context) ? sourceIp(context) : undefined)),
  single('aws:CurrentTime', (context) => instant(context)?.toISOString()),
  single('aws:EpochTime', (context) => {
    const now = instant(context)
    return now && String(Math.floor(now.getTime() / 1000))
  }),
  single('cognito-identity.amazonaws.com:sub', identityId),
]

const byName: ReadonlyMap<string, Variable> = new Map(fixed.map((variable) => [variable.name, variable]))

const properNames: ReadonlyMap<string, string> = new Map(
  [...byName.keys(), ...certificateVariables].map((name) => [name.toLowerCase(), name]),
)

/** The names of all variables, as a message lists or suggests them. */
export const variableNames: readonly string[] = [...properNames.values(), 'iot:Connection.Thing.Attributes[name]']

/** The variable of exactly that name; undefined where there is none. Case counts (AWS: "ClientId not clientId"). */
export function findVariable(name: string): Variable | undefined {
  const attribute = /^iot:Connection\.Thing\.Attributes\[(?<attribute>[^\]]+)\]$/.exec(name)?.groups?.['attribute']
  if (attribute !== undefined) {
    return single(name, (context) => ifThing(context, fieldOf(context.thingAttributes, attribute)))
  }
  return byName.get(name) ?? findCertificateVariable(name)
}

/** The variable that a condition's key names. Case doesn't count here (IAM), except in the name of a thing's attribute. */
export function findConditionKey(key: string): Variable | undefined {
  const attribute = /^iot:Connection\.Thing\.Attributes(?<attribute>\[.*)$/i.exec(key)?.groups?.['attribute']
  if (attribute !== undefined) return findVariable(`iot:Connection.Thing.Attributes${attribute}`)
  const { base, ending } = /^(?<base>.*?)(?<ending>\.(?:List|[1-9]\d?))?$/i.exec(key)?.groups ?? {}
  const proper = properNames.get((base ?? '').toLowerCase())
  if (proper === undefined) return undefined
  return findVariable(proper + (ending === undefined ? '' : ending.replace(/list/i, 'List')))
}
