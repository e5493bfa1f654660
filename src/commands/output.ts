import { styleText } from 'node:util'
import { formatProblem, type Problem } from '../core/problem.ts'

/** Prints problems, one a line, to standard error; or all of them as one JSON document to standard output. */
export function printProblems(problems: readonly Problem[], options: { readonly json: boolean }): void {
  if (options.json) {
    console.log(JSON.stringify({ problems }, undefined, 2))
    return
  }
  for (const problem of problems) console.error(formatProblem(problem))
  if (problems.length > 0) console.error(`\n${problems.length} ${problems.length === 1 ? 'problem' : 'problems'}`)
}

/** Colours text on a terminal, and nowhere else (NO_COLOR is honoured by Node). */
export function paint(style: 'green' | 'red' | 'yellow' | 'cyan' | 'gray' | 'bold', text: string): string {
  return styleText(style, text, { stream: process.stdout })
}

/** Prints rows in columns as wide as their widest cell. */
export function printTable(rows: readonly (readonly string[])[]): void {
  const widths: number[] = []
  for (const row of rows)
    for (const [index, cell] of row.entries()) widths[index] = Math.max(widths[index] ?? 0, cell.length)
  for (const row of rows)
    console.log(
      row.map((cell, index) => (index === row.length - 1 ? cell : cell.padEnd(widths[index] ?? 0))).join('  '),
    )
}
