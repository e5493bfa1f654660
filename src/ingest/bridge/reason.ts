import type { RefusalReason } from '../../core/access.ts'

/**
 * The PUBACK reason code that tells a broker why a message was refused (MQTT 5 §3.4.2.1). All of them acknowledge: the
 * broker sends it no more. 0x97 for size: "an implementation or administrative imposed limit has been exceeded".
 */
export function pubackReason(reason: RefusalReason): number {
  if (reason === 'topic') return 0x90
  if (reason === 'size') return 0x97
  if (reason === 'request') return 0x83
  return 0x87
}
