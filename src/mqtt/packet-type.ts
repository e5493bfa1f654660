/** Control packet types (MQTT 5 §2.1.2) that this client tells apart. */
export const packetType = {
  connack: 2,
  publish: 3,
  puback: 4,
  pubrec: 5,
  pubrel: 6,
  suback: 9,
  unsuback: 11,
  pingresp: 13,
  disconnect: 14,
} as const

/** MQTT 5, or 3.1.1 (protocol level 4). */
export type MqttVersion = 4 | 5
