/** MQTT's delivery promise. */
export type Qos = 0 | 1 | 2

/** MQTT 5 properties of a PUBLISH that travel with a message (MQTT 5 §3.3.2.3). */
export interface Properties {
  readonly contentType?: string
  readonly responseTopic?: string
  /** Base64, because its bytes are free. */
  readonly correlationData?: string
  /** True: the payload is UTF-8 text. */
  readonly payloadFormatIndicator?: boolean
  /** Seconds. */
  readonly messageExpiryInterval?: number
  readonly userProperties?: readonly (readonly [name: string, value: string])[]
}

/** What was accepted from a principal: the thing that rules look at and workers forward. Immutable. */
export interface Message {
  /** UUIDv7, always Sluice's own. It is the `traceId` of the answer and `$traceId()` in rules. */
  readonly id: string
  /** What its publisher calls it, behind who that is (core/id.ts, `scopedId`): the same each time it sends the message. */
  readonly publisherId?: string
  /** When it was accepted, in milliseconds since 1970. */
  readonly at: number
  /** Where it was published; behind `$aws/rules/<rule>/` for a message to one rule, and empty where nothing stands behind it. */
  readonly topic: string
  /** The one rule that it was published to (AWS IoT's Basic Ingest). */
  readonly rule?: string
  /** The bytes as they came. */
  readonly payload: Buffer
  readonly qos: Qos
  readonly retain: boolean
  readonly properties?: Properties
  /** The name of the principal that published it. */
  readonly principal: string
  /** The thing it is from: the principal's own, or the one a bridge speaks for. */
  readonly thing?: string
  readonly clientId?: string
  readonly sourceIp?: string
}

/** One action of one rule for one message: what the rules ask a worker to do. */
export interface Delivery {
  readonly worker: string
  readonly rule: string
  /** Its place in the rule's `to`, from 0; error actions count on behind them. */
  readonly action: number
  /** True for an error action: if it fails too, it becomes a dead letter and no further error action runs. */
  readonly error?: true
  /** What `select` made; absent where the payload goes as it came. */
  readonly out?: Buffer
  /** The rendered `with` options of the action. */
  readonly with?: Readonly<Record<string, unknown>>
}
