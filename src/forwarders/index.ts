import type { AnyForwarderDefinition } from '../core/forwarder.ts'
import { file } from './file.ts'
import { http } from './http.ts'
import { log } from './log.ts'
import { mqtt } from './mqtt.ts'
import { sqs } from './sqs.ts'

/** Every kind of worker. A new one is a file here and a line in this list. */
export const forwarders: readonly AnyForwarderDefinition[] = [file, http, log, mqtt, sqs]
