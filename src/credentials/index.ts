import type { AnyCredentialDefinition } from '../core/forwarder.ts'
import { awsDefault } from './aws-default.ts'
import { awsKeys } from './aws-keys.ts'
import { awsRole } from './aws-role.ts'
import { basic } from './basic.ts'
import { bearer } from './bearer.ts'
import { mqtt } from './mqtt.ts'

/** Every type of outbound credential. A new one is a file here and a line in this list. */
export const credentials: readonly AnyCredentialDefinition[] = [awsKeys, awsRole, awsDefault, bearer, basic, mqtt]
