/** Whether Redis itself said no. */
export function isReplyError(error: unknown): boolean {
  return error instanceof Error && error.name === 'ReplyError'
}

/** What Redis answers where it is asked for a script by its hash and doesn't have it. */
export function isScriptMissing(error: unknown): boolean {
  return isReplyError(error) && (error as Error).message.startsWith('NOSCRIPT ')
}

/** ioredis' error for a command that it had no connection to send on. */
export function wasNotSent(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith("Stream isn't writeable")
}

/**
 * What a node answers that takes no write now, or never will again: it was made a replica, is loading, has lost its primary or its
 * replicas, or its cluster is down; UNBLOCKED ends a blocking command when it is made a replica. Inside a script's error the code
 * stands behind a dash (Redis before 7).
 */
const refusal = /(?:^|-)(?:READONLY|LOADING|MASTERDOWN|CLUSTERDOWN|NOREPLICAS|UNBLOCKED) /

/** Whether another connection is to be tried, since the node behind this one says that it takes no writes. */
export function takesNoWrites(error: unknown): boolean {
  return isReplyError(error) && refusal.test((error as Error).message)
}
