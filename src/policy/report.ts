/** Something wrong in a document. `path` is dotted and leads to the field: `Statement.0.Action.1`. */
export interface Complaint {
  readonly path: string
  readonly message: string
}

/**
 * Collects what is wrong while a document is compiled. *Malformed*: it can't be said what the document means, so it denies
 * everything. *Doubtful*: it is clear what it means, and that can't be what its author wants (an action that doesn't exist).
 * *Noted*: it is good here, and AWS would refuse it or means something else by it.
 */
export class Report {
  readonly malformations: Complaint[] = []
  readonly doubts: Complaint[] = []
  readonly notes: Complaint[] = []
  /** Names of all variables that were met, as text and as keys of conditions. */
  readonly variables = new Set<string>()

  malformed(path: string, message: string): void {
    this.malformations.push({ path, message })
  }

  doubtful(path: string, message: string): void {
    this.doubts.push({ path, message })
  }

  note(path: string, message: string): void {
    this.notes.push({ path, message })
  }

  uses(variable: string): void {
    this.variables.add(variable)
  }
}
