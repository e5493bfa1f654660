/** Where something stands in a file that a user wrote. Lines and columns count from 1. */
export interface Position {
  readonly file: string
  readonly line: number
  readonly column: number
}

/** One thing that `sluice check` prints: what is wrong, where, and what to do about it. */
export interface Problem extends Position {
  /** Dotted path inside the document, e.g. `rules.0.to.1.worker`; empty for the document itself. */
  readonly path: string
  readonly message: string
}

/** Thrown by whatever refuses to start on bad configuration. Carries every problem of every file, not the first. */
export class ProblemsError extends Error {
  override readonly name = 'ProblemsError'
  readonly problems: readonly Problem[]
  constructor(problems: readonly Problem[]) {
    super(problems.map(formatProblem).join('\n'))
    this.problems = problems
  }
}

/** `file:line:column: message`, the form that editors and CI systems turn into links. */
export function formatProblem(problem: Problem): string {
  return `${problem.file}:${problem.line}:${problem.column}: ${problem.message}`
}

/** `file:line:column`, for sentences that point at another place. */
export function formatPosition(position: Position): string {
  return `${position.file}:${position.line}:${position.column}`
}
