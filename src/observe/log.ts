import { pino } from 'pino'
import type { Facts, Log } from '../core/log.ts'
import type { Redactor } from '../core/redactor.ts'
import { textLine } from './log-text.ts'
import { withoutSecrets } from './without-secrets.ts'

export type LogLevel = 'debug' | 'info' | 'warn' | 'error'

export interface LogOptions {
  readonly level: LogLevel
  /** `json`: one object a line, for machines. `text`: for people; coloured on a terminal only. */
  readonly format: 'json' | 'text'
  /** Every line goes through it, whatever a library put into an error. */
  readonly redactor: Redactor
  /** Where lines go; standard output by default. */
  readonly write?: (line: string) => void
  readonly colours?: boolean
}

/** Makes the log that every part gets handed. */
export function createLog(options: LogOptions): Log {
  const write = options.write ?? ((line: string) => void process.stdout.write(line))
  const { redactor, format } = options
  const colours = options.colours ?? false
  const logger = pino(
    {
      level: options.level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    {
      write: (line) => {
        const clean = withoutSecrets(line, redactor)
        write(format === 'json' ? clean : textLine(clean, colours))
      },
    },
  )
  return wrap(logger)
}

function wrap(logger: pino.Logger): Log {
  return {
    debug: (facts: Facts, message: string) => logger.debug(facts, message),
    info: (facts: Facts, message: string) => logger.info(facts, message),
    warn: (facts: Facts, message: string) => logger.warn(facts, message),
    error: (facts: Facts, message: string) => logger.error(facts, message),
    with: (facts: Facts) => wrap(logger.child(facts)),
  }
}
