import type { Command } from 'commander'
import { SluiceError } from '../core/errors.ts'
import { formatPosition } from '../core/problem.ts'
import { explain, type ExplainedAction, type ExplainedExpression } from '../rules/explain.ts'
import { readWithoutSecrets } from './context.ts'
import { paint } from './output.ts'

export function addExplain(program: Command): void {
  program
    .command('explain <rule>')
    .description('how a rule is understood: topic filters, JSONata, what it reads, what is interpreted')
    .option('--json', 'print one JSON document')
    .action(async (name: string, options: { json?: true }) => {
      const { rules } = await readWithoutSecrets(program)
      const rule = rules.find((candidate) => candidate.name === name)
      if (rule === undefined) {
        throw new SluiceError(
          'WRONG_USE',
          `there is no rule "${name}"; there are: ${rules.map((known) => known.name).join(', ') || 'none'}`,
        )
      }
      const explained = explain(rule)
      if (options.json) return console.log(JSON.stringify(explained, undefined, 2))
      console.log(`${paint('bold', explained.name)}  ${formatPosition(rule.position)}`)
      for (const filter of explained.topicFilters) console.log(`from    ${filter}`)
      printExpression('where', explained.where, 'every message of these topics')
      printExpression('select', explained.select, 'the payload goes byte for byte')
      for (const action of explained.to) printAction('to', action)
      for (const action of explained.onError) printAction('onError', action)
    })
}

function printExpression(what: string, expression: ExplainedExpression | undefined, otherwise: string): void {
  if (expression === undefined) return console.log(`${what.padEnd(7)} ${paint('gray', `none: ${otherwise}`)}`)
  const [first, ...rest] = expression.jsonata.split('\n')
  console.log(`${what.padEnd(7)} ${first ?? ''}`)
  for (const line of rest) console.log(`        ${line}`)
  console.log(`        ${paint('gray', noteOf(expression))}`)
}

function printAction(what: string, { worker, action, on, templates }: ExplainedAction): void {
  console.log(
    `${what.padEnd(7)} ${worker}  ${paint('gray', `action ${action}${on === undefined ? '' : `, on ${on.join(' and ')}`}`)}`,
  )
  for (const template of templates)
    console.log(`        with.${template.path}: ${template.jsonata}  ${paint('gray', noteOf(template))}`)
}

function noteOf({ evaluation, fields, message }: ExplainedExpression): string {
  const reads = [...fields.map((field) => `payload.${field}`), ...message]
  return `${evaluation}${reads.length === 0 ? '' : `; reads ${reads.join(', ')}`}`
}
