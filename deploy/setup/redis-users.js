// Redis' users file, made of the template deploy/redis/users.acl and of what an installed file holds. The template grows with Sluice, and
// the file follows it: `up` after a pull writes it anew, with the passwords and the changes that somebody made to it by hand.

/** Words of a line; a selector in parentheses is one. */
const wordsOf = (line) => line.match(/\([^)]*\)|\S+/g) ?? []
const isPassword = (word) => /^[#>]/.test(word) || word === 'nopass'
const nameOf = (line) => wordsOf(line)[1] ?? ''

/** The lines of a template or a file, by the name of their user. */
export function linesByUser(text) {
  const lines = text.split('\n').filter((line) => line.startsWith('user '))
  return new Map(lines.map((line) => [nameOf(line), line]))
}

/** Which line of the template a user has. One that was added by hand, after the template's words, is a worker too. */
function roleOf(name, line, workers) {
  if (name === 'default' || name === 'ingest') return name
  return workers.includes(name) || wordsOf(line).includes(`~{sluice:${name}}:${name}:*`) ? 'worker' : undefined
}

/** A line of the template for one user, without a password. */
const written = (line, role, name) => line.replace(`user ${role} `, `user ${name} `).replaceAll('WORKER', name)

/**
 * The users file, and what a person wants to know of it.
 * - `template`: the text of deploy/redis/users.acl; `applied`: what it was when the file was last written, where that is known.
 * - `passwords`: for each user `#` and the SHA-256 of its password. They hold whatever an installed file says.
 * - `before`: the installed file. Of its lines stay: passwords of users that `passwords` doesn't know, and second ones beside those it
 *   knows; what was added by hand, that is, what neither template has; `off`; the lines of users that no line of the template is for.
 */
export function redisUsers({ template, applied = template, passwords, before = '' }) {
  const [roles, rolesBefore, installed] = [linesByUser(template), linesByUser(applied), linesByUser(before)]
  const workers = [...passwords.keys()].filter((name) => name !== 'ingest')
  const notes = []

  function lineFor(name) {
    const own = installed.get(name) ?? ''
    const role = roleOf(name, own, workers)
    if (role === undefined) return own
    const line = written(roles.get(role), role, name)
    // Nobody may come in as this one, whatever else was written.
    if (role === 'default') return line
    const words = wordsOf(own)
    const [known, kept] = [passwords.get(name), words.filter(isPassword)]
    const password = known === undefined || kept.includes(known) ? kept : [known]
    const template = new Set([...wordsOf(line), ...wordsOf(written(rolesBefore.get(role) ?? '', role, name))])
    const added = words
      .slice(2)
      .filter((word) => !isPassword(word) && !/^(?:on$|off$|\()/.test(word) && !template.has(word))
    if (added.length > 0) notes.push(`${name} keeps ${added.join(' ')}, which the template does not have`)
    const complete = [line.replace('PASSWORD', password.join(' ')), ...added].join(' ')
    return words.includes('off') ? complete.replace(`user ${name} on`, `user ${name} off`) : complete
  }

  const names = [...new Set(['default', 'ingest', ...workers, ...installed.keys()])]
  return { text: names.map(lineFor).join('\n'), notes }
}
