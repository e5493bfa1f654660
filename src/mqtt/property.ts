/** Identifiers of the properties that a PUBLISH may have (MQTT 5 §2.2.2.2). */
export const property = {
  payloadFormatIndicator: 0x01,
  messageExpiryInterval: 0x02,
  contentType: 0x03,
  responseTopic: 0x08,
  correlationData: 0x09,
  subscriptionIdentifier: 0x0b,
  userProperty: 0x26,
} as const
