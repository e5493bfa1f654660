/** Whether Redis itself said no. */
export function isReplyError(error: unknown): boolean {
  return error instanceof Error && error.name === 'ReplyError'
}

/** What Redis answers where it is asked for a script by its hash and doesn't have it. */
export function isScriptMissing(error: unknown): boolean {
  return isReplyError(error) && (error as Error).message.startsWith('NOSCRIPT ')
}

/** Whether the user may not run a command, or not on that key; in a script (Redis before 7.2) it is told in other words. */
export function isDenied(error: unknown): boolean {
  return isReplyError(error) && /NOPERM|can't (?:access|run)|permission/i.test((error as Error).message)
}

/** Whether the user may not run a command on any key. (Some keys are denied on purpose: ingest may not list a worker's work.) */
export function lacksCommand(error: unknown): boolean {
  return isReplyError(error) && /(?:permissions to|can't) run /.test((error as Error).message)
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
