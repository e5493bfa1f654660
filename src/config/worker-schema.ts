import { z } from 'zod'
import { duration } from '../core/units.ts'
import { ownBacklog } from './backlog-schema.ts'
import { ownQueue, shortName } from './sluice-schema.ts'

const backoff = z
  .strictObject({ first: duration('500ms'), max: duration('5m') })
  .refine(({ first, max }) => first > 0 && first <= max, {
    path: ['first'],
    message: 'must be more than 0 and at most "max"',
  })

const delivery = z.strictObject({
  attempts: z.int().min(1).max(1000).default(10),
  age: duration('24h').refine((ms) => ms > 0, 'must be more than 0'),
  backoff: backoff.default(() => backoff.parse({})),
  concurrency: z.int().min(1).max(1000).default(4),
})

/** What every worker file has, whatever its kind; everything else in it belongs to the kind. */
export const workerSchema = z.strictObject({
  name: shortName.exactOptional(),
  kind: z.string().min(1),
  keep: z
    .enum(['original', 'output'], {
      error: ({ input }) =>
        typeof input === 'object'
          ? 'is "original" or "output", what of a message stays; how long dead letters stay is "backlog: { keep: … }"'
          : undefined,
    })
    .default('original'),
  delivery: delivery.default(() => delivery.parse({})),
  backlog: ownBacklog.exactOptional(),
  queue: ownQueue.exactOptional(),
  with: z.record(z.string(), z.unknown()).default({}),
  credential: z.looseObject({ type: z.string() }).exactOptional(),
})

export const workerKeys: readonly string[] = Object.keys(workerSchema.shape)

/** Keys that ingest reads too, or that decide whose file it is: no reference may stand there. */
export const literalKeys: readonly string[] = workerKeys.filter((key) => key !== 'credential' && key !== 'queue')
