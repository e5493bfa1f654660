/** Why a topic name or filter was refused, in words for the one who sent or wrote it; undefined when it is fine. */
export type TopicComplaint = string | undefined

export interface TopicLimits {
  /** UTF-8 bytes. AWS IoT: 256. */
  readonly bytes: number
  /** Parts between slashes. AWS IoT: 8 (seven slashes). */
  readonly levels: number
}

/** AWS IoT's limits of a topic (developer guide, "AWS IoT Core message broker limits"). */
export const awsTopicLimits: TopicLimits = { bytes: 256, levels: 8 }

/**
 * Checks a topic name, the thing one publishes to: not empty, no NUL [MQTT-4.7.3-2], no wildcards [MQTT-3.3.2-2],
 * well-formed Unicode [MQTT-1.5.3-1], within the limits. `$aws/rules/<rule>/` does not count towards them (AWS Basic Ingest).
 */
export function complainAboutTopicName(name: string, limits: TopicLimits = awsTopicLimits): TopicComplaint {
  if (/[+#]/.test(name)) return 'the topic contains a wildcard (+ or #); publish to a topic name'
  return complainAboutShape(name, limits)
}

/**
 * Checks a topic filter, the thing one subscribes to: `+` takes a whole level [MQTT-4.7.1-3], `#` the whole last level
 * [MQTT-4.7.1-2], otherwise as a topic name.
 */
export function complainAboutTopicFilter(filter: string, limits: TopicLimits = awsTopicLimits): TopicComplaint {
  const levels = filter.split('/')
  for (const [index, level] of levels.entries()) {
    if (level.includes('#') && (level !== '#' || index !== levels.length - 1)) {
      return `"#" must be the whole last level, and "${filter}" has it elsewhere`
    }
    if (level.includes('+') && level !== '+') return `"+" must be a whole level, and "${filter}" has "${level}"`
  }
  return complainAboutShape(filter, limits)
}

/** Bytes of a rule's name (config/rule-schema.ts). AWS IoT: 128. */
const longestRule = 128

function complainAboutShape(topic: string, limits: TopicLimits): TopicComplaint {
  if (topic === '') return 'the topic is empty'
  if (topic.includes('\0')) return 'the topic contains the character U+0000'
  if (!topic.isWellFormed()) return 'the topic is not well-formed Unicode'
  const { topic: counted, rule = '' } = addressOf(topic)
  // Not counted is not without end: what is decided about a topic is remembered with it.
  if (Buffer.byteLength(rule, 'utf8') > Math.max(limits.bytes, longestRule))
    return `the topic names a rule of more than ${longestRule} bytes, and none has such a name`
  const bytes = Buffer.byteLength(counted, 'utf8')
  if (bytes > limits.bytes) return `the topic has ${bytes} bytes, and at most ${limits.bytes} are allowed`
  const levels = counted.split('/').length
  if (levels > limits.levels) return `the topic has ${levels} levels, and at most ${limits.levels} are allowed`
  return undefined
}

/** What every topic of AWS IoT's Basic Ingest begins with. */
const toRule = '$aws/rules/'

/** Whether a topic is one of Basic Ingest: a message there is for a rule and for no subscriber. */
export function isToRule(topic: string): boolean {
  return topic.startsWith(toRule)
}

/** `$aws/rules/<rule>/<topic>` taken apart, as rules see it (AWS, "Basic Ingest"); any other topic as it is. */
export function addressOf(topic: string): { readonly topic: string; readonly rule?: string } {
  if (!isToRule(topic)) return { topic }
  const [, , rule = '', ...rest] = topic.split('/')
  return { topic: rest.join('/'), rule }
}

/**
 * Whether a topic name matches a topic filter, by the text of MQTT 4.7: `+` one level, `#` the rest and the parent
 * [MQTT-4.7.1.2], and no leading wildcard matches a `$` topic [MQTT-4.7.2-1]. This is the obvious form, for cold paths
 * and as the oracle of the trie in rules/.
 */
export function topicMatches(filter: string, name: string): boolean {
  const wanted = filter.split('/')
  const given = name.split('/')
  if (name.startsWith('$') && (wanted[0] === '+' || wanted[0] === '#')) return false
  for (const [index, level] of wanted.entries()) {
    if (level === '#') return true
    if (index >= given.length) return false
    if (level !== '+' && level !== given[index]) return false
  }
  return wanted.length === given.length
}

/** A shared subscription `$share/<group>/<filter>` (MQTT 5 §4.8.2) without its share; any other filter as it is. */
export function unsharedFilter(filter: string): string {
  return filter.startsWith('$share/') ? filter.split('/').slice(2).join('/') : filter
}
