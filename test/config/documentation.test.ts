import { deepEqual } from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { z } from 'zod'
import { groupSchema, identityFileSchema, principalSchema, thingSchema } from '../../src/config/identity-schema.ts'
import { authMethods } from '../../src/identity/index.ts'
import { ruleSchema } from '../../src/config/rule-schema.ts'
import { sluiceSchema } from '../../src/config/sluice-schema.ts'
import { workerSchema } from '../../src/config/worker-schema.ts'

const text = readFileSync('docs/configuration.md', 'utf8')

/** The chapter under a heading, up to the next heading that is not deeper. */
function chapter(heading: string): string {
  const [marks = ''] = heading.split(' ')
  const start = text.indexOf(`\n${heading}\n`)
  const rest = text.slice(start + 1 + heading.length)
  const end = rest.search(new RegExp(`\\n#{1,${marks.length}} `))
  return start < 0 ? '' : end < 0 ? rest : rest.slice(0, end)
}

/** A key is documented where its name begins or ends a code span, or stands as a key inside one. */
function undocumented(schema: z.core.$ZodType, where: string): string[] {
  const keys = Object.keys((schema as z.ZodObject).shape)
  return keys.filter((key) => !new RegExp(`[\`.{, ]${key}(?:\`|:|\\.)`).test(where))
}

function inner(schema: z.core.$ZodType): z.core.$ZodType {
  const { innerType, element } = schema._zod.def as { innerType?: z.core.$ZodType; element?: z.core.$ZodType }
  return innerType !== undefined ? inner(innerType) : element !== undefined ? inner(element) : schema
}

const { shape } = sluiceSchema
const limits = inner(shape.limits)
const cases: readonly [string, z.core.$ZodType, string][] = [
  ['sluice.yaml', sluiceSchema, '## sluice.yaml'],
  ['limits', limits, '### limits'],
  ['bridges', inner(shape.bridges), '### bridges'],
  ['rules', ruleSchema(sluiceSchema.parse({}).limits), '## rules/'],
  ['workers', workerSchema, '## workers/'],
  ['listen', inner(shape.listen), '## sluice.yaml'],
  ['tls', inner(shape.tls), '### tls'],
  ['identity', identityFileSchema(authMethods), '## identity/'],
  ['things', thingSchema, '## identity/'],
  ['groups', groupSchema, '## identity/'],
  ['principals', principalSchema(authMethods), '## identity/'],
]
for (const [name, schema, heading] of cases) {
  test(`every key of ${name} is in docs/configuration.md`, () => deepEqual(undocumented(schema, chapter(heading)), []))
}

test('a key that is in no document is found', () => {
  deepEqual(undocumented(z.object({ payload: z.string(), nowhere: z.string() }), chapter('### limits')), ['nowhere'])
})
