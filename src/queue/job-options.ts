import type { BulkJobOptions, QueueOptions } from 'bullmq'

/** Nobody reads BullMQ's stream of events; it may not be 0, which means "all" to the Postgres one. */
export const queueOptions = { streams: { events: { maxLen: 100 } } } as const satisfies Omit<QueueOptions, 'connection'>

/** A job is gone when it is done, and BullMQ never has a reason to fail it by itself. */
export function jobOptions(jobId: string): BulkJobOptions {
  return { jobId, attempts: 1e9, removeOnComplete: true, stackTraceLimit: 0 }
}
