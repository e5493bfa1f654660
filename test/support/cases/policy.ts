import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { evaluatePolicies, type PolicyContext, type PolicyRequest } from '../../../src/index.ts'
import { readCases } from './case-file.ts'
import type { Suite } from './suite.ts'

const policyCase = z.looseObject({
  id: z.string(),
  policies: z.array(z.unknown()),
  rolePolicies: z.array(z.unknown()).optional(),
  context: z.record(z.string(), z.unknown()),
  request: z.record(z.string(), z.unknown()),
  expect: z.enum(['allow', 'deny']),
})

/** AWS IoT policy decisions, through the public function. */
export const policySuite: Suite = {
  name: 'policy',
  async run(folder) {
    const path = join(folder, 'policy-cases.json')
    if (!existsSync(path)) return undefined
    return readCases(path, policyCase).map(({ id, policies, rolePolicies, context, request, expect }) => {
      const facts = { ...context, ...(rolePolicies !== undefined && { rolePolicies }) } as PolicyContext
      const { decision } = evaluatePolicies(policies, request as unknown as PolicyRequest, facts)
      return decision === expect ? { kind: 'passed', id } : { kind: 'failed', id, expected: expect, got: decision }
    })
  },
}
