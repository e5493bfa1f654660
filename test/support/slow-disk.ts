import { type Scope, until } from './cleanup.ts'
import { run } from './process.ts'

export interface SlowDisk {
  /** The disk is quick again. Needed before a process that was killed is gone: a sync that is held back holds it too. */
  end(): Promise<void>
}

/**
 * Makes a disk slow for one process and all its threads: each fsync and fdatasync begins `syncMs` later. By strace, which must be
 * allowed to attach: as root, or with `sysctl kernel.yama.ptrace_scope=0`.
 */
export async function slowDisk(scope: Scope, pid: number | undefined, syncMs: number): Promise<SlowDisk> {
  const delay = `inject=fsync,fdatasync:delay_enter=${syncMs * 1000}`
  const strace = run(scope, 'strace', ['-f', '-e', 'trace=fsync,fdatasync', '-e', delay, '-p', String(pid)])
  await until(
    `strace attaches; it said: ${strace.output()}`,
    () => {
      if (strace.child.exitCode !== null) throw new Error(`strace could not attach: ${strace.output()}`)
      return strace.output().includes(`Process ${pid} attached`)
    },
    5_000,
  )
  return { end: async () => void (await strace.stop('SIGKILL')) }
}
