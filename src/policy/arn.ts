import { type Action, resourceTypes } from './actions.ts'

/** The region and account that stand in Sluice's own ARNs. They take part in every match, so a document names them or says `*`. */
export interface Place {
  readonly region: string
  readonly account: string
}

/** There is no region or account here; names that can't be mistaken for one of AWS's. */
export const defaultPlace: Place = { region: 'local', account: '000000000000' }

/** What `iot:Publish`, `iot:RetainPublish`, `iot:Receive` and `iot:GetRetainedMessage` are asked about. */
export function topicArn(topic: string, place: Place = defaultPlace): string {
  return arn('topic', topic, place)
}

/** What `iot:Subscribe` is asked about: the filter as it was sent, `$share/…` and all. */
export function topicFilterArn(filter: string, place: Place = defaultPlace): string {
  return arn('topicfilter', filter, place)
}

/** What `iot:Connect` is asked about. */
export function clientArn(clientId: string, place: Place = defaultPlace): string {
  return arn('client', clientId, place)
}

/** What the shadow and job actions over HTTP are asked about. */
export function thingArn(thing: string, place: Place = defaultPlace): string {
  return arn('thing', thing, place)
}

/** What an action is asked about; `name` is a client id, a topic filter, a topic, a thing or a role alias (aws-security §7.2). */
export function resourceArn(action: Action, name: string, place: Place = defaultPlace): string {
  const type = resourceTypes[action]
  return type === '*' ? '*' : arn(type, name, place)
}

function arn(type: string, name: string, { region, account }: Place): string {
  return `arn:aws:iot:${region}:${account}:${type}/${name}`
}
