/** The value of a JSON text; undefined, which JSON cannot say, where the text is none. For texts whose author gets an error that quotes nothing. */
export function parsedJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return undefined
  }
}
