/** A piece of JSON text that `JSON.stringify` writes as it is. */
export interface RawJson {
  readonly rawJSON: string
}

/** JSON.rawJSON of ECMAScript 2026, in Node since 21; TypeScript's library doesn't have it yet. */
const json = JSON as typeof JSON & { rawJSON(text: string): RawJson; isRawJSON(value: unknown): value is RawJson }

/** Throws SyntaxError where the text isn't the JSON of one number, text, boolean or null. */
export const rawJson = (text: string): RawJson => json.rawJSON(text)

export const isRawJson = (value: unknown): value is RawJson => json.isRawJSON(value)
