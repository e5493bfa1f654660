import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after } from 'node:test'
import { fileURLToPath } from 'node:url'
import type { Scope } from './cleanup.ts'
import { run } from './process.ts'
import { plainEnvironment } from './sluice.ts'

const bin = fileURLToPath(new URL('../../bin/sluice.js', import.meta.url))

/** Tests start the program some dozens of times; with its code compiled once, each start takes half as long. */
const compiled = mkdtempSync(join(tmpdir(), 'sluice-test-'))
process.on('exit', () => rmSync(compiled, { recursive: true, force: true }))

export interface Ran {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs `sluice` in a folder, as a user would who stands in it, and waits for its end. */
export async function command(
  scope: Scope,
  folder: string,
  parameters: readonly string[],
  options: { readonly env?: Readonly<Record<string, string>>; readonly input?: string | Buffer } = {},
): Promise<Ran> {
  return ended(
    run(scope, process.execPath, [bin, ...parameters], {
      cwd: folder,
      env: plainEnvironment({ NODE_COMPILE_CACHE: compiled, ...options.env }),
      ...(options.input !== undefined && { input: options.input }),
    }),
  )
}

/** What a process printed, by stream, once it has ended. */
export async function ended(running: ReturnType<typeof run>): Promise<Ran> {
  let [stdout, stderr] = ['', '']
  running.child.stdout?.on('data', (chunk: string) => (stdout += chunk))
  running.child.stderr?.on('data', (chunk: string) => (stderr += chunk))
  return { code: await running.ended(), stdout, stderr }
}

/** A scope as long as the suite in whose body it is made; `after` of node:test inside of a hook ends with the hook. */
export function suiteScope(): Scope {
  const acts: (() => unknown)[] = []
  after(async () => {
    for (const act of acts.toReversed()) await act()
  })
  return { after: (act) => void acts.push(act as () => unknown) }
}
