/**
 * Takes the oldest out until there are at most `most`: what bounds a memory that strangers fill. Oldest is what was put in longest
 * ago; whoever wants "used longest ago" deletes an entry before setting it again.
 */
export function keepNewest(entries: Map<unknown, unknown>, most: number): void {
  for (const oldest of entries.keys()) {
    if (entries.size <= most) return
    entries.delete(oldest)
  }
}
