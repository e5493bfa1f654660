import type { Item } from '../../src/core/forwarder.ts'

export type ItemParts<With = Readonly<Record<string, unknown>>> = Partial<Omit<Item<With>, 'payload'>> & {
  readonly payload?: Buffer | string
}

/** An item as delivery/ would hand it over; what is left out is ordinary. */
export function itemOf<With = Readonly<Record<string, unknown>>>(parts: ItemParts<With> = {}): Item<With> {
  const { payload = '{"celsius":31}', ...rest } = parts
  const id = parts.id ?? 'm-1'
  return {
    id,
    key: `${id}:r:0`,
    selected: false,
    topic: 'buildings/b1/rooms/7/climate',
    qos: 1,
    retain: false,
    rule: 'r',
    principal: 'gateway',
    at: 1_790_000_000_000,
    with: {} as With,
    ...rest,
    payload: typeof payload === 'string' ? Buffer.from(payload) : payload,
  }
}

/** `count` items with payloads of their own. */
export function itemsOf(count: number, parts: Partial<Item> = {}): Item[] {
  return Array.from({ length: count }, (_, index) => itemOf({ id: `m-${index}`, payload: `{"n":${index}}`, ...parts }))
}
