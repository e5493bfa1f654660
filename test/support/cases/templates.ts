import { readIds } from './case-file.ts'
import { notThereYet } from './suite.ts'

/** Substitution templates of AWS IoT SQL. */
export const templateSuite = notThereYet('templates', 'template-cases.json', readIds)
