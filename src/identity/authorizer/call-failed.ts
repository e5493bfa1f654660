/** A call that brought no answer. The message is for our log: it holds nothing of the event and nothing of an answer. */
export class CallFailed extends Error {
  override readonly name = 'CallFailed'
}
