import { readIds } from './case-file.ts'
import { notThereYet } from './suite.ts'

/** Device shadows. */
export const shadowSuite = notThereYet('shadows', 'shadow-cases.json', readIds)
