import type { Facts, Log } from '../../src/core/log.ts'

export interface Lines extends Log {
  readonly lines: { readonly level: string; readonly facts: Facts; readonly message: string }[]
}

/** A log that keeps its lines. */
export function keepLines(): Lines {
  const lines: Lines['lines'] = []
  const at = (level: string) => (facts: Facts, message: string) => void lines.push({ level, facts, message })
  const log: Lines = {
    lines,
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    with: () => log,
  }
  return log
}
