import { constants } from 'node:fs'
import { type FileHandle, mkdir, open, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { rotate } from './rotation.ts'

export interface LineFileOptions {
  /** Absolute. */
  readonly path: string
  /** When it is moved away, and how many moved ones are kept; absent: never. */
  readonly rotate?: { readonly bytes: number; readonly keep: number }
  /** Called with the number of bytes of a torn line that was cut off. */
  readonly onTorn: (bytes: number) => void
}

/** How far back the beginning of a torn line is looked for. Over any line that we write; anything longer isn't ours to cut. */
const longestLine = 16 * 1024 * 1024

/** The path holds something that we must not write to; a person has to look. */
export class NotOursError extends Error {
  override readonly name = 'NotOursError'
}

/**
 * A file of lines that only grows. What `append` was given is on disk when it resolves; when it throws, none of it
 * counts as written. One call at a time.
 */
export class LineFile {
  readonly #options: LineFileOptions
  #handle: FileHandle | undefined
  /** Bytes that are whole lines and on disk. */
  #size = 0

  constructor(options: LineFileOptions) {
    this.#options = options
  }

  /** Opens the file if it isn't open, creating it and its folders; cuts off a torn last line. */
  async ready(): Promise<void> {
    if (this.#handle !== undefined && !(await this.#isInPlace())) await this.close()
    if (this.#handle === undefined) await this.#open()
  }

  /** Appends whole lines and waits until they are on disk (fdatasync). Throws what the file system says. */
  async append(lines: Buffer): Promise<void> {
    await this.ready()
    const limit = this.#options.rotate
    if (limit !== undefined && this.#size > 0 && this.#size + lines.length > limit.bytes) {
      await this.#rotate(limit.keep)
    }
    const handle = this.#handle
    if (handle === undefined) throw new Error('the file is not open')
    try {
      await writeAll(handle, lines)
      await handle.datasync()
      this.#size += lines.length
    } catch (error) {
      await this.#takeBack(handle)
      throw error
    }
  }

  async close(): Promise<void> {
    const handle = this.#handle
    this.#handle = undefined
    await handle?.close()
  }

  /** Whether the path still leads to the open file: what is written to one that was deleted or moved away is lost. */
  async #isInPlace(): Promise<boolean> {
    const [open, there] = await Promise.all([this.#handle?.stat(), stat(this.#options.path).catch(() => undefined)])
    return open !== undefined && there !== undefined && open.ino === there.ino && open.dev === there.dev
  }

  async #open(): Promise<void> {
    const { path } = this.#options
    const folder = dirname(path)
    const firstMade = await mkdir(folder, { recursive: true, mode: 0o700 })
    // NONBLOCK, because opening a pipe would wait for its reader. 0600: payloads are nobody else's business.
    const flags = constants.O_RDWR | constants.O_CREAT | constants.O_APPEND | constants.O_NONBLOCK
    const handle = await open(path, flags, 0o600)
    try {
      this.#size = await this.#wholeLines(handle)
      await handle.datasync()
      await syncFolders(folder, firstMade === undefined ? folder : dirname(firstMade))
    } catch (error) {
      await handle.close()
      throw error
    }
    this.#handle = handle
  }

  /** Cuts a torn last line off; gives the size that is left. Its messages were never said to be delivered. */
  async #wholeLines(handle: FileHandle): Promise<number> {
    const info = await handle.stat()
    if (!info.isFile()) throw new NotOursError(`${this.#options.path} is not a regular file`)
    const end = await endOfLastLine(handle, info.size)
    if (end === undefined) {
      throw new NotOursError(
        `${this.#options.path} does not end with a line of ours; move it away or name another file`,
      )
    }
    if (end === info.size) return end
    await handle.truncate(end)
    this.#options.onTorn(info.size - end)
    return end
  }

  async #rotate(keep: number): Promise<void> {
    const { path } = this.#options
    await this.close()
    await rotate(path, keep)
    await this.#open()
  }

  /** After a failed write or sync nobody knows what is on disk: back to the last good size, and open anew the next time. */
  async #takeBack(handle: FileHandle): Promise<void> {
    await handle.truncate(this.#size).catch(() => {})
    await this.close().catch(() => {})
  }
}

async function writeAll(handle: FileHandle, bytes: Buffer): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    const { bytesWritten } = await handle.write(bytes, done, bytes.length - done)
    done += bytesWritten
  }
}

/** The offset behind the last line break; undefined where none is near enough to the end. */
async function endOfLastLine(handle: FileHandle, size: number): Promise<number | undefined> {
  const buffer = Buffer.allocUnsafe(Math.min(size, 64 * 1024))
  for (let end = size; end > 0;) {
    if (size - end >= longestLine) return undefined
    const start = Math.max(0, end - buffer.length)
    const { bytesRead } = await handle.read(buffer, 0, end - start, start)
    const found = buffer.subarray(0, bytesRead).lastIndexOf(0x0a)
    if (found !== -1) return start + found + 1
    end = start
  }
  return 0
}

/** Makes new names durable, in a folder and those above it up to `top`. */
async function syncFolders(folder: string, top: string): Promise<void> {
  if (process.platform === 'win32') return // folders can't be opened there, and NTFS keeps a journal of names
  const handle = await open(folder, constants.O_RDONLY)
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
  if (folder !== top) await syncFolders(dirname(folder), top)
}
