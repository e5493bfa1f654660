import { constants, type Dirent } from 'node:fs'
import { type FileHandle, open, readdir, stat } from 'node:fs/promises'
import { extname, isAbsolute, join, relative, sep } from 'node:path'
import type { Problem } from '../core/problem.ts'
import { type Parsed, type YamlSource, maxFileBytes, parseYaml } from './yaml.ts'
import type { Substitute } from './yaml-reading.ts'

/** How a path is shown: relative to `cwd` where it lies below it, otherwise absolute. */
export function displayName(path: string, cwd: string): string {
  const near = relative(cwd, path)
  return near === '' || near.startsWith('..') || isAbsolute(near) ? path : near.split(sep).join('/')
}

/**
 * The files with one of the extensions in a folder and up to `depth` folders below, absolute and in a fixed order. Names
 * that begin with a dot are left out (editors' and Kubernetes' own), symbolic links are followed. Undefined where there
 * is no such folder.
 */
export async function listFiles(
  folder: string,
  extensions: readonly string[],
  depth: number,
): Promise<string[] | undefined> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => undefined)
  // A command may name one file instead of a folder.
  if (entries === undefined) return (await isFile(folder)) ? [folder] : undefined
  const found: string[] = []
  for (const entry of entries.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    if (entry.name.startsWith('.')) continue
    const path = join(folder, entry.name)
    if (await isFolder(entry, path)) {
      if (depth > 0) found.push(...((await listFiles(path, extensions, depth - 1)) ?? []))
    } else if (extensions.includes(extname(entry.name))) found.push(path)
  }
  return found
}

async function isFile(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isFile() ?? false
}

async function isFolder(entry: Dirent, path: string): Promise<boolean> {
  if (!entry.isSymbolicLink()) return entry.isDirectory()
  return (await stat(path).catch(() => undefined))?.isDirectory() ?? false
}

/** The bytes of a file, or the problem of one that cannot be read. */
export async function readSource(path: string, name: string): Promise<YamlSource | Problem> {
  try {
    return { path, name, bytes: await readBounded(path) }
  } catch (error) {
    return wholeFileProblem(name, `the file cannot be read: ${reasonOf(error)}`)
  }
}

/** Reads and parses a file. */
export async function readYaml(path: string, name: string, substitute?: Substitute): Promise<Parsed> {
  const source = await readSource(path, name)
  return 'bytes' in source ? parseYaml(source, substitute) : { problems: [source] }
}

/** A problem of a file as a whole. */
export function wholeFileProblem(name: string, message: string): Problem {
  return { file: name, line: 1, column: 1, path: '', message }
}

/** What to say of a file in which nothing stands, where that may be an accident; `key` is one that it may hold. */
export function emptyFile(key: string): string {
  return `the file is empty; write "${key}: []" if it is to hold none, or remove it`
}

/** At most one byte more than is allowed, which is enough to tell that it is too much. */
async function readBounded(path: string): Promise<Buffer> {
  // Non-blocking, because opening a pipe would wait for its writer.
  const handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
  try {
    const facts = await handle.stat()
    if (!facts.isFile()) throw new Error('it is not a file')
    return await readAll(handle, Math.min(facts.size, maxFileBytes) + 1)
  } finally {
    await handle.close()
  }
}

async function readAll(handle: FileHandle, most: number): Promise<Buffer> {
  const buffer = Buffer.alloc(most)
  let length = 0
  while (length < most) {
    const { bytesRead } = await handle.read(buffer, length, most - length)
    if (bytesRead === 0) break
    length += bytesRead
  }
  return buffer.subarray(0, length)
}

function reasonOf(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  if (code === 'ENOENT') return 'there is no such file'
  if (code === 'EACCES' || code === 'EPERM') return 'this process may not read it'
  return error instanceof Error ? error.message : 'reading failed'
}
