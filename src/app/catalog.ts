import type { AnyCredentialDefinition, AnyForwarderDefinition } from '../core/forwarder.ts'
import type { LoadOptions } from '../config/load.ts'
import { credentials } from '../credentials/index.ts'
import { forwarders } from '../forwarders/index.ts'
import { authMethods } from '../identity/index.ts'
import { complainAboutTls } from '../ingest/tls/material.ts'
import { examinePolicyDocument } from '../policy/examine.ts'
import { examineRule, examineTemplate } from '../rules/examine.ts'
import { notesOnBridge } from './bridge-notes.ts'

/** Everything that configuration is checked against. commands/ gathers it; app/ingest.ts is handed it (decision 2). */
export type Catalog = Pick<
  LoadOptions,
  'examineRule' | 'examineTemplate' | 'examinePolicyDocument' | 'authMethods' | 'examineServerTls' | 'notesOnBridge'
> & {
  readonly forwarders: readonly AnyForwarderDefinition[]
  readonly credentials: readonly AnyCredentialDefinition[]
}

export const catalog: Catalog = {
  forwarders,
  credentials,
  authMethods,
  examineServerTls: complainAboutTls,
  examineRule,
  examineTemplate,
  examinePolicyDocument,
  notesOnBridge,
}
