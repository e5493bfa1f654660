/**
 * Flags for the processes of a Sluice. Left to itself V8 lets the heap of a busy ingest grow to 400 MiB of garbage on a large
 * machine (its live data is some 30 MiB): a young generation of 16 MiB halves and an old one that grows by a third at a time keep
 * it near 200 MiB, and cost nothing that bench/pipeline.ts could tell from noise. They only take effect on the command line.
 * The Dockerfile has the same.
 */
export const heapFlags: readonly string[] = ['--max-semi-space-size=16', '--heap-growing-percent=30']
