/** The public library. Used by path until a `prepack` emits JavaScript (DESIGN §6). */
export {}
