/** The broker sent something that is not MQTT, or that it may not send; the connection has no future. */
export class MalformedPacket extends Error {
  override readonly name = 'MalformedPacket'
  /** The reason code that a DISCONNECT of MQTT 5 gives for it (MQTT 5 §3.14.2.1). */
  readonly reasonCode: 0x81 | 0x82 | 0x95
  constructor(message: string, reasonCode: 0x81 | 0x82 | 0x95 = 0x81) {
    super(message)
    this.reasonCode = reasonCode
  }
}
