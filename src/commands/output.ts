import { styleText } from 'node:util'
import { formatProblem, type Problem } from '../core/problem.ts'

/** Prints problems, one a line, and how many: where they are the answer to standard output, otherwise to standard error. */
export function printProblems(problems: readonly Problem[], print: (line: string) => void = console.error): void {
  for (const problem of problems) print(formatProblem(problem))
  print(`\n${countOf(problems.length, 'problem')}`)
}

/** `1 rule`, `2 rules`, `2 policies`. */
export function countOf(count: number, one: string, several = `${one}s`): string {
  return `${count} ${count === 1 ? one : several}`
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
