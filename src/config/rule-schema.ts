import { z } from 'zod'
import { complainAboutTopicFilter, complainAboutTopicName, isToRule } from '../core/topic.ts'
import type { Limits } from './sluice-schema.ts'

/** `rule:<name>` owns a queue, and `<id>:<rule>:<action>` is cut at its colons. */
export const ruleName = z
  .string()
  .regex(/^[a-zA-Z0-9_.-]{1,128}$/, 'must have 1 to 128 letters, digits, "_", "." or "-"')

/** A mapping under `where` or `select` is mostly JSONata that YAML has read as its own. */
const jsonata = (key: string) =>
  z.preprocess((value, context) => {
    if (typeof value !== 'object' || value === null) return value
    context.addIssue({
      code: 'custom',
      message: `must be JSONata text, and YAML reads it as data; write it as a block: ${key}: |`,
    })
    return z.NEVER
  }, z.string().min(1))

const withOptions = z.record(z.string(), z.unknown())

const action = z.strictObject({ worker: z.string().min(1), with: withOptions.exactOptional() })

const errorAction = z.strictObject({
  ...action.shape,
  on: z
    .array(z.enum(['delivery', 'evaluation']))
    .min(1)
    .default(['delivery']),
})

const given = z
  .strictObject({
    topic: z.string(),
    payload: z.unknown().exactOptional(),
    payloadText: z.string().exactOptional(),
    payloadBase64: z.base64().exactOptional(),
    clientId: z.string().exactOptional(),
    principal: z.string().exactOptional(),
    thing: z.string().exactOptional(),
    qos: z.union([z.literal(0), z.literal(1), z.literal(2)]).exactOptional(),
    retain: z.boolean().exactOptional(),
    properties: z.record(z.string(), z.unknown()).exactOptional(),
  })
  .superRefine((value, context) => {
    const payloads = ['payload', 'payloadText', 'payloadBase64'].filter((key) => key in value)
    if (payloads.length > 1)
      context.addIssue({ code: 'custom', message: `${payloads.join(' and ')} exclude one another` })
  })

const expect = z
  .strictObject({
    match: z.boolean().exactOptional(),
    select: z.unknown().exactOptional(),
    to: z.array(z.string()).exactOptional(),
    error: z.string().min(1).exactOptional(),
  })
  .refine(
    (value) => Object.keys(value).length > 0,
    'is empty, so the test could not fail; write match, select, to or error',
  )

const testCase = z.strictObject({ name: z.string().min(1).exactOptional(), given, expect })

/** What is published there goes to the rule that the topic names, which sees the topic behind the prefix (Basic Ingest). */
function complainAboutDirect(filter: string): string | undefined {
  if (!isToRule(filter)) return undefined
  return 'matches nothing: a message on $aws/rules/<rule>/… goes to that rule by its name, whatever its topic filters'
}

/** One rule, under the limits of sluice.yaml. */
export function ruleSchema(limits: Limits) {
  const topicLimits = { bytes: limits.topicBytes, levels: limits.topicLevels }
  const filter = z.string().superRefine((text, context) => {
    const complaint = complainAboutTopicFilter(text, topicLimits) ?? complainAboutDirect(text)
    if (complaint !== undefined) context.addIssue({ code: 'custom', message: complaint })
  })
  const test = testCase.superRefine(({ given: { topic } }, context) => {
    const complaint = complainAboutTopicName(topic, topicLimits)
    if (complaint !== undefined) context.addIssue({ code: 'custom', path: ['given', 'topic'], message: complaint })
  })
  return z.strictObject({
    name: ruleName.exactOptional(),
    from: z.union([filter, z.array(filter).min(1).max(limits.filtersPerRule)]),
    where: jsonata('where').exactOptional(),
    select: jsonata('select').exactOptional(),
    to: z.array(action).min(1).max(limits.actionsPerRule),
    onError: z.array(errorAction).max(limits.actionsPerRule).default([]),
    tests: z.array(test).default([]),
  })
}

export type WrittenRule = z.output<ReturnType<typeof ruleSchema>>
