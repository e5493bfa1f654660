/**
 * Flags for the processes of a Sluice. Left to itself V8 lets the heap of a busy ingest grow to 400 MiB of garbage on a large
 * machine (its live data is some 30 MiB): a young generation of 16 MiB halves and an old one that grows by a third at a time keep
 * it near 200 MiB, for a few microseconds of CPU a message (bench/pipeline.ts: 22 µs became 28, in noisy runs). They only take
 * effect on the command line. The Dockerfile has the same.
 */
export const heapFlags: readonly string[] = ['--max-semi-space-size=16', '--heap-growing-percent=30']
