import { z } from 'zod'

const durations = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const
const sizes = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 } as const

/** Milliseconds of `500ms`, `30s`, `5m`, `24h`, `7d`; undefined for anything else. */
export function parseDuration(text: string): number | undefined {
  return parse(text, durations)
}

/** Bytes of `512B`, `64KiB`, `1MiB`, `2GiB`; undefined for anything else. */
export function parseBytes(text: string): number | undefined {
  return parse(text, sizes)
}

function parse(text: string, units: Readonly<Record<string, number>>): number | undefined {
  const match = /^(?<count>\d+(?:\.\d+)?)(?<unit>[A-Za-z]+)$/.exec(text)
  const unit = units[match?.groups?.['unit'] ?? '']
  return unit === undefined ? undefined : Math.round(Number(match?.groups?.['count']) * unit)
}

/** A duration in a config file; its value is in milliseconds. */
export const duration = (fallback?: string) =>
  withFallback(
    z.string().transform((text, context) => {
      const ms = parseDuration(text)
      if (ms !== undefined) return ms
      context.addIssue({ code: 'custom', message: `"${text}" is not a duration; write 500ms, 30s, 5m, 24h or 7d` })
      return z.NEVER
    }),
    fallback,
  )

/** A size in a config file: `64KiB` or a plain number of bytes; its value is in bytes. */
export const bytes = (fallback?: string) =>
  withFallback(
    z.union([z.string(), z.int().nonnegative()]).transform((value, context) => {
      const size = typeof value === 'number' ? value : parseBytes(value)
      if (size !== undefined) return size
      context.addIssue({ code: 'custom', message: `"${value}" is not a size; write 512B, 64KiB, 1MiB or 2GiB` })
      return z.NEVER
    }),
    fallback,
  )

function withFallback(schema: z.ZodType<number>, fallback: string | undefined): z.ZodType<number> {
  // The fallback goes through the schema like a user's value, so a bad one fails at start.
  return fallback === undefined ? schema : schema.prefault(fallback)
}
