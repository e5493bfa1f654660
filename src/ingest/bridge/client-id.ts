/** The client id of an ingest at a bridge's broker, where the config says none: stable, so that its session is found again. */
export function clientIdOf(bridge: string, slot: number): string {
  return `sluice-${bridge}-${slot}`
}

/** Where the store has the filters that a client id has subscribed: there as long as it may have a session at the broker. */
export function filtersKey(clientId: string): string {
  return `bridge/${clientId}/filters`
}
