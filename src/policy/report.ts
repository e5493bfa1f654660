/** Something wrong in a document. `path` is dotted and leads to the field: `Statement.0.Action.1`. */
export interface Complaint {
  readonly path: string
  readonly message: string
}

/**
 * Collects what is wrong while a document is compiled. *Malformed*: it can't be said what the document means, so it denies
 * everything. *Doubtful*: it is clear what it means, and that can't be what its author wants (an action that doesn't exist).
 */
export class Report {
  readonly malformations: Complaint[] = []
  readonly doubts: Complaint[] = []

  malformed(path: string, message: string): void {
    this.malformations.push({ path, message })
  }

  doubtful(path: string, message: string): void {
    this.doubts.push({ path, message })
  }
}
