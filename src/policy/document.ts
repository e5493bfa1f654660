import { Report } from './report.ts'
import { complainAboutFields, compileStatement, type Statement } from './statement.ts'
import { fieldOf, isFields, show } from './values.ts'

export interface CompiledDocument {
  /** In the order of the document; undefined for one that can't be read. */
  readonly statements: readonly (Statement | undefined)[]
  readonly report: Report
}

const version = '2012-10-17'

/** AWS's limit for a document, without white space ("AWS IoT Core quotas"). Here it is a note, no refusal. */
const charactersAtAws = 2048

const compiled = new WeakMap<object, CompiledDocument>()

/** Compiles a policy document once; it must not be changed afterwards. Never throws: what is wrong is in the report. */
export function compileDocument(value: unknown): CompiledDocument {
  if (!isFields(value)) return read(value)
  const known = compiled.get(value)
  if (known !== undefined) return known
  const result = read(value)
  compiled.set(value, result)
  return result
}

function read(value: unknown): CompiledDocument {
  const report = new Report()
  if (!isFields(value)) {
    report.malformed('', `a policy document must be a map with Version and Statement, and is ${show(value)}`)
    return { statements: [], report }
  }
  complainAboutFields(value, ['Version', 'Id', 'Statement'], 'policy document', '', report)
  // The other version, 2008-10-17, has no variables: reading it like this one would give its text another meaning.
  const given = fieldOf(value, 'Version')
  if (given !== version) {
    const missing = given === undefined
    const what = missing ? 'Version is missing' : `Version is ${show(given)}`
    report.malformed(missing ? '' : 'Version', `${what}; it must be '${version}', in quotes`)
  }
  noteSize(value, report)
  const content = fieldOf(value, 'Statement')
  if (content === undefined) {
    report.malformed('', 'Statement is missing')
    return { statements: [], report }
  }
  if (!Array.isArray(content)) return { statements: [compileStatement(content, 'Statement', report)], report }
  if (content.length === 0) report.doubtful('Statement', 'Statement is empty: the policy allows nothing')
  const statements = content.map((statement: unknown, index) =>
    compileStatement(statement, `Statement.${index}`, report),
  )
  return { statements, report }
}

function noteSize(value: object, report: Report): void {
  const size = charactersOf(value)
  if (size > charactersAtAws) {
    const message = `the document has ${size} characters without white space; AWS takes at most ${charactersAtAws}`
    report.note('', message)
  }
}

/** As JSON, without white space; 0 for a value that has no JSON. */
function charactersOf(value: object): number {
  try {
    return JSON.stringify(value).replace(/\s/g, '').length
  } catch {
    return 0
  }
}
