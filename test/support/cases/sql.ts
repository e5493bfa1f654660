import { readIds } from './case-file.ts'
import { notThereYet } from './suite.ts'

/** Rules written as AWS IoT SQL. */
export const sqlSuite = notThereYet('sql', 'sql-cases.json', readIds)
