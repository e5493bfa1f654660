import type { Properties, Qos } from '../core/message.ts'

/** A PUBLISH as it came. */
export interface ReceivedPublish {
  readonly topic: string
  /** A part of what was read from the socket; empty where the packet was over the limit. */
  readonly payload: Buffer
  readonly qos: Qos
  readonly retain: boolean
  /** 0 for QoS 0. Says nothing about identity: brokers reuse ids of messages in flight (feasibility-doors §2). */
  readonly packetId: number
  readonly properties?: Properties
  /** Bytes of the packet, where it was over the limit and its payload was not kept. */
  readonly oversize?: number
}

/** A PUBLISH to send. */
export interface OutgoingPublish {
  readonly topic: string
  readonly payload: Buffer
  readonly qos: 0 | 1
  readonly retain: boolean
  /** Left out on MQTT 3.1.1, which has none. */
  readonly properties?: Properties
}
