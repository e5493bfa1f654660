import { z } from 'zod'
import type { BacklogPolicy, Share } from '../core/room.ts'
import { bytes, duration, parseBytes } from '../core/units.ts'

/** `25%` of the room that the queue has, or bytes. */
const share = z.union([z.string(), z.int().positive()]).transform((value, context): Share => {
  const percent =
    typeof value === 'string' ? /^(?<percent>\d+(?:\.\d+)?)%$/.exec(value)?.groups?.['percent'] : undefined
  if (percent !== undefined && Number(percent) > 0 && Number(percent) <= 100) return { share: Number(percent) / 100 }
  const size = typeof value === 'number' ? value : parseBytes(value)
  if (size !== undefined && size > 0) return { bytes: size }
  context.addIssue({
    code: 'custom',
    message: `"${value}" is neither a part of the room, from 0% to 100%, nor a size; write 25% or 512MiB`,
  })
  return z.NEVER
})

const keep = z
  .strictObject({
    age: duration()
      .refine((ms) => ms > 0, 'must be more than 0')
      .exactOptional(),
    messages: z.int().min(1).exactOptional(),
    bytes: bytes()
      .refine((size) => size > 0, 'must be more than 0')
      .exactOptional(),
  })
  .refine((value) => Object.keys(value).length > 0, 'must say "age", "messages" or "bytes"')

/** What a worker's own file says of its backlog; what is left out is as in sluice.yaml. */
export const ownBacklog = z.strictObject({
  max: share.exactOptional(),
  whenFull: z.enum(['refuse', 'drop-oldest', 'drop-newest']).exactOptional(),
  keep: keep.exactOptional(),
})

/** `backlog:` of sluice.yaml, for every worker, rule and bridge. */
export const backlog = z.strictObject({
  max: share.prefault('25%'),
  whenFull: z.enum(['refuse', 'drop-oldest', 'drop-newest']).default('refuse'),
  keep: keep.exactOptional(),
})

export type OwnBacklog = z.output<typeof ownBacklog>

/**
 * The part of a Redis of its own that a worker may have: nobody is beside it, so all but what keeps Redis from becoming too full to be
 * worked off, and that is noticed at 90%.
 */
const allForOne: Share = { share: 0.8 }

/** What holds for a worker; `max` of sluice.yaml divides the queue that is shared, so it is not for a worker that has its own. */
export function backlogPolicy(
  common: BacklogPolicy,
  { backlog: own = {}, queue }: { readonly backlog?: OwnBacklog; readonly queue?: unknown } = {},
): BacklogPolicy {
  return { ...common, ...(queue !== undefined && { max: allForOne }), ...own }
}
