// Whether the containers can read what they mount from the checkout. Asked of the kernel, as the user that each of them is: modes don't
// tell what access lists, user namespaces and the file sharing of Docker Desktop make of them.
import { spawnSync } from 'node:child_process'

const program = `
const { accessSync, constants, readdirSync, statSync } = require('node:fs')
const unreadable = []
function look(path) {
  try {
    const isFolder = statSync(path).isDirectory()
    accessSync(path, isFolder ? constants.R_OK | constants.X_OK : constants.R_OK)
    if (isFolder) for (const name of readdirSync(path)) look(path + '/' + name)
  } catch (error) {
    if (error.code === 'EACCES') unreadable.push(path)
  }
}
process.argv.slice(1).forEach(look)
console.log(JSON.stringify(unreadable))
`

/** Those of these files and folders, and of what is in them, that the user may not read. None where that can't be asked. */
export function unreadableFor(uid, paths) {
  const { status, stdout } = spawnSync(process.execPath, ['-e', program, ...paths], {
    uid,
    gid: uid,
    cwd: '/',
    encoding: 'utf8',
  })
  return status === 0 ? JSON.parse(stdout) : []
}
