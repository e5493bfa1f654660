// The folder of what is generated: who owns a file, who may read it, and how it is called where the user sits.
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'

/** The users of the images. What a container may read is decided by the folders that it mounts and by owner. */
export const uids = { root: 0, sluice: 1000, mosquitto: 1883, redis: 999 }
const isRoot = process.getuid?.() === 0

/**
 * The files below `root`. An owner is one of `uids`, or `host`: whoever has the checkout, who takes device keys away and has to read
 * them for that. Where the process isn't root, everything is its own.
 */
export class Folder {
  /** `shown`: the folder as the user knows it, which in a container is another path. */
  constructor(root, shown = root) {
    this.root = root
    this.shown = shown
  }

  path(file) {
    return join(this.root, file)
  }

  /** As the user finds it. */
  name(file) {
    return join(this.shown, file)
  }

  /** A file's text, or undefined where there is none. */
  read(file) {
    return existsSync(this.path(file)) ? readFileSync(this.path(file), 'utf8').trim() || undefined : undefined
  }

  /** Whole or not at all: servers read their files again while this runs. */
  write(file, owner, text, mode = 0o400) {
    const next = `${this.path(file)}.new`
    mkdirSync(dirname(next), { recursive: true })
    rmSync(next, { force: true })
    writeFileSync(next, `${text.trim()}\n`, { mode: 0o600 })
    this.#give(next, owner, mode)
    renameSync(next, this.path(file))
    return text.trim()
  }

  /** What is there stays as it is. */
  keep(file, owner, make, mode = 0o400) {
    const text = this.read(file)
    if (text === undefined) return this.write(file, owner, make(), mode)
    this.claim(file, owner, mode)
    return text
  }

  /** Sets right whose a file is and who may read it, where there is one: a copy of the checkout has lost that. */
  claim(file, owner, mode = 0o400) {
    if (existsSync(this.path(file))) this.#give(this.path(file), owner, mode)
  }

  /** The same for what somebody has put into a container's folder of secrets. */
  claimSecrets(folder, owner) {
    for (const entry of readdirSync(this.path(folder), { withFileTypes: true }))
      if (entry.isFile() && entry.name !== '.gitkeep' && !entry.name.endsWith('.crt'))
        this.claim(join(folder, entry.name), owner)
  }

  /** Lets every container pass through a folder that it mounts: under umask 077 git makes them for their owner only. */
  open(folder) {
    mkdirSync(this.path(folder), { recursive: true })
    const { mode } = statSync(this.path(folder))
    if ((mode & 0o055) !== 0o055) chmodSync(this.path(folder), (mode & 0o777) | 0o055)
  }

  /** Whatever umask this runs under. */
  #give(path, owner, mode) {
    const { uid, gid, mode: before } = lstatSync(path)
    if ((before & 0o777) !== mode) chmodSync(path, mode)
    if (!isRoot) return
    const checkout = statSync(this.root)
    const [user, group] = owner === 'host' ? [checkout.uid, checkout.gid] : [uids[owner], uids[owner]]
    if (uid !== user || gid !== group) chownSync(path, user, group)
  }
}
