import { globSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'

/** A wall clock that can be set, for the processes that are started with its environment. Time that passes it measures as it is. */
export interface Clock {
  readonly environment: Readonly<Record<string, string>>
  /** Sets it so many seconds off the right time. */
  set(offset: number): Promise<void>
}

/** Debian's libfaketime, told by a file that it reads at every call. */
export async function createClock(folder: string): Promise<Clock> {
  const [library] = globSync('/usr/lib/*/faketime/libfaketime.so.1')
  if (library === undefined) throw new Error('libfaketime is missing: apt-get install faketime')
  const file = join(folder, 'clock')
  const set = (offset: number) => writeFile(file, `${offset < 0 ? '' : '+'}${offset}\n`)
  await set(0)
  return {
    environment: {
      LD_PRELOAD: library,
      FAKETIME_TIMESTAMP_FILE: file,
      FAKETIME_NO_CACHE: '1',
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
    },
    set,
  }
}
