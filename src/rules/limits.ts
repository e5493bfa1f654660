/** What an expression may cost. Rules run on the thread that takes messages, so each bound is there to keep others served. */
export interface ExpressionLimits {
  /**
   * Nodes of the expression that are evaluated for one message. A step takes about half a microsecond, so the default
   * ends a loop after about a tenth of a second; a rule that looks ten times at each of a thousand readings needs 20,000.
   */
  readonly steps: number
  /** Milliseconds of wall time, for what one step can cost by itself. Generous: a busy machine must not fail a rule. */
  readonly timeoutMs: number
  /** Nodes nested in evaluation. A recursive function takes about five per level. */
  readonly stack: number
  /** Items of a sequence. jsonata copies sequences when it appends to them, so their cost is quadratic. */
  readonly sequence: number
  /** Characters of a text that `$pad`, `$join` and `$replace` may build: eight times the largest payload of AWS IoT. */
  readonly textLength: number
  /** Bytes of a result: an envelope holds no more. */
  readonly resultBytes: number
  /** Instructions of a compiled regular expression. */
  readonly regexProgram: number
  /** Instructions times characters that one search may take: 128 KiB of text for an expression of 150 instructions. */
  readonly regexWork: number
}

export const defaultExpressionLimits: ExpressionLimits = {
  steps: 200_000,
  timeoutMs: 1_000,
  stack: 2_000,
  sequence: 10_000,
  textLength: 1_048_576,
  resultBytes: 1_048_576,
  regexProgram: 5_000,
  regexWork: 20_000_000,
}
