import { storable } from '../core/wire.ts'

/** Longest error text that is kept, in UTF-8 bytes: enough for a far side's sentence, too little for its web page. */
export const maxReasonBytes = 1024

/** Takes secrets out of a text. */
export type Scrub = (text: string) => string

/**
 * A far side's words as they may be kept: without secrets, on one line, fit for any queue and any terminal, bounded. In
 * this order: a secret that was cut or changed would not be found.
 */
export function reasonOf(text: string, scrub: Scrub): string {
  const clean = storable(scrub(text))
    .replace(/\p{Cc}+/gu, ' ')
    .trim()
  if (clean === '') return 'no reason given'
  if (Buffer.byteLength(clean) <= maxReasonBytes) return clean
  // TextDecoder drops the half character that the cut may leave.
  const kept = Buffer.from(clean.slice(0, maxReasonBytes)).subarray(0, maxReasonBytes - 3)
  return `${new TextDecoder().decode(kept).replace(/\uFFFD+$/, '')}…`
}

/** `36h`, `5m`, `1500ms`: as a config file would say it. */
export function formatDuration(ms: number): string {
  for (const [unit, size] of [
    ['h', 3_600_000],
    ['m', 60_000],
    ['s', 1_000],
  ] as const) {
    if (ms >= size && ms % size === 0) return `${ms / size}${unit}`
  }
  return `${ms}ms`
}
